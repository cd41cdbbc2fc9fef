"""The course of a training as TensorBoard reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

_FLUSH_SECONDS = 10


class Board:
    """Event files in one folder; the steps of all curves are batches learnt from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add one point to each of the curves.

        The first call tells the board to forget what an attempt that was killed wrote from
        ``step`` on.
        """
        if self._writer is None:
            self._writer = SummaryWriter(
                str(self._folder),
                purge_step=step,
                flush_secs=_FLUSH_SECONDS,
                filename_suffix=f".{step}",  # else two of the same second are one file
            )
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what was not yet written."""
        if self._writer is not None:
            self._writer.close()
