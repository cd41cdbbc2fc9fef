"""Ours: what stands in for code that a bundle carries in its ``scripts`` folder, which never runs.

A row is the full name as a bundle writes it, and where we define what it means. The same name may
mean something else in another bundle, so a row belongs to one only if no other uses its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.tables.entry import Entry

OURS: Mapping[str, Entry] = {}
