"""The command that starts a training: one process, or one for each of several devices."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def command(order: Path, devices: Sequence[str]) -> list[str]:
    """Return the command line for the order in a file, whose ``device`` names ``devices`` too.

    Several devices take torchrun, which ends all processes when one of them ends badly; its own
    exit code says nothing, so the last line of the first process does.
    """
    training = ["pipeline.training", str(order)]
    if len(devices) < 2:
        return [sys.executable, "-m", *training]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(len(devices))]
    return [sys.executable, "-m", *torchrun, "-m", *training]
