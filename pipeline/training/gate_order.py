"""What a candidate is to be held against, and the files that its gate leaves.

Imports nothing heavy: who only orders a gate, or keeps what it left, computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: what is left in the folder of a gate
STATEMENT: Final = "gate.json"
PAGE: Final = "gate.html"
CASES: Final = "cases.json"
CANDIDATE: Final = "candidate.json"
ACTIVE: Final = "active.json"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version that a candidate is held against, or that it or the active one came from."""

    model: str
    version: str
    digest: str
    #: folder of the bundle
    bundle: str
    #: file of ``KeptCases``; None = what it was trained on is not known here
    cases: str | None = None

    @property
    def name(self) -> str:
        """Name and version in one word."""
        return f"{self.model}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class GateOrder:
    """What a candidate is to be held against. JSON values: a process is told."""

    folder: str
    active: Version | None
    #: the active version, and whatever it or the candidate was trained from
    line: tuple[Version, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> GateOrder:
        """Read it from JSON values."""
        active = document["active"]
        return cls(
            folder=document["folder"],
            active=None if active is None else Version(**active),
            line=tuple(Version(**one) for one in document["line"]),
        )
