"""What is wrong with a manifest: every fault by its row, all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import TrainingRefused


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong with a manifest. Row 0 stands for the manifest as a whole."""

    row: int
    column: str
    sentence: str

    def __str__(self) -> str:
        """Return ``row 3, label: ...``."""
        return f"row {self.row}, {self.column}: {self.sentence}"


class ManifestInvalid(TrainingRefused):
    """The manifest has faults; all of them are listed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        shown = "; ".join(str(fault) for fault in self.faults[:20])
        more = f"; and {len(self.faults) - 20} more" if len(self.faults) > 20 else ""
        super().__init__(f"{len(self.faults)} faults in the manifest: {shown}{more}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way back from a child process."""
        return type(self), (self.faults,)
