"""One condition as it stood for one series or one study: what was wanted and what there was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One condition, what it wants and what there is. JSON values only.

    A group (alternatives, exceptions, ``all``, ``any``, ``not``) has the clauses that it is made
    of in ``parts``; whether it holds follows from them.
    """

    clause: str
    expected: Any
    actual: Any
    holds: bool
    parts: tuple[Clause, ...] = ()

    @property
    def is_open(self) -> bool:
        """Say whether it fails only because what it asks about is not known."""
        if self.holds:
            return False
        if not self.parts:
            return self.actual is None
        if self.clause == "any_of":
            return any(part.is_open for part in self.parts)
        return all(part.is_open for part in self.parts if not part.holds)

    def explained(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told = {
            "clause": self.clause,
            "expected": self.expected,
            "actual": self.actual,
            "holds": self.holds,
        }
        if self.parts:
            told["parts"] = [part.explained() for part in self.parts]
        return told


def said(value: Any) -> str:
    """Return a value as sentences say it."""
    if value is None or value in ("", []):
        return "not stated"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
