"""What no honest configuration says anywhere, also where nothing of ours would ever read it.

No part of a configuration runs here, and what a run reaches is held against tables. This is about
the rest: a bundle that tries is refused as a whole, for whoever opens it elsewhere would run it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Final

from pipeline.config import ids
from pipeline.config.document import Document
from pipeline.config.tables import lookup

#: names with two underscores, and Python's own ways to run a text
_RUNS: Final = re.compile(r"__\w+__|(?<![.\w])(?:eval|exec|compile)\s*\(|\b(?:os\.system|popen)\b")
_TOLD: Final = 10
_LONGEST: Final = 80


def faults(document: Document) -> list[str]:
    """Say which parts of a configuration ask for Python's own machinery."""
    found = [
        f"{name or 'the configuration'}: {sentence}"
        for name, value in document.items.items()
        if (sentence := _fault(value))
    ]
    return found[:_TOLD]


def _fault(value: Any) -> str | None:
    if isinstance(value, str) and ids.is_expression(value) and (asked := _RUNS.search(value)):
        return f"the expression asks for {asked[0].strip('( ')!r}, which would run code"
    target = value.get("_target_") if isinstance(value, Mapping) else None
    if isinstance(target, str) and _is_foreign(target):
        return f"the _target_ {target[:_LONGEST]!r} is a part of Python that no model is made of"
    return None


def _is_foreign(target: str) -> bool:
    package = target.partition(".")[0]
    return package in sys.stdlib_module_names and lookup.find_target(target) is None
