"""The one error of this room."""

from __future__ import annotations

from typing import Any

from pipeline.errors import PipelineError
from pipeline.reasons import Reason


class ConfigRefused(PipelineError):
    """A configuration that is not understood or not allowed. ``faults`` lists what was found."""

    reason = Reason.MODEL_UNAVAILABLE

    def __init__(self, faults: str | list[str], reason: Reason | None = None) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("the configuration is refused: " + "; ".join(self.faults), reason)

    def __reduce__(self) -> tuple[type[ConfigRefused], Any]:
        """Survive the way back from a child process with the faults still apart."""
        return type(self), (self.faults, self.reason)
