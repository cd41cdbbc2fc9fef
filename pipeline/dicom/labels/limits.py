"""How much a label object may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LabelLimits:
    """Bounds on reading the label objects of one volume."""

    #: bytes of one file
    file_bytes: int = 2**31
    #: frames of one segmentation, and segments
    frames: int = 200_000
    #: contours of one structure set, and points of all of them together
    contours: int = 500_000
    points: int = 50_000_000
    #: content items of one report, and how deep they may lie
    items: int = 500_000
    depth: int = 32
    #: bytes of all regions together, one per voxel of the box around each
    region_bytes: int = 2**32
    #: address space of the reading process beyond what it starts with
    memory_bytes: int = 8 * 2**30
    seconds: float = 120.0
