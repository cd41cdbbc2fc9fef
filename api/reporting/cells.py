"""Text on its way into tables and pages: names of files are written by strangers."""

from __future__ import annotations

import unicodedata
from typing import Final

#: a cell that starts with one of these is a formula to spreadsheet programs (CWE-1236)
_FORMULA: Final = frozenset("=+-@\t\r\n")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain_cell(text: str) -> str:
    """Return ``text`` so that no spreadsheet runs it: formulas get a leading apostrophe.

    Only for columns of text. Numbers are written as they are, -5 stays a number.
    """
    return f"'{text}" if text[:1] in _FORMULA else text


def visible(text: str) -> str:
    r"""Return ``text`` with controls, direction marks and broken bytes spelled out as \\uXXXX."""
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in _HIDDEN else c for c in text)
