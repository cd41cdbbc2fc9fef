"""One line of the doctor, and how it asks other programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, and how to mend it if it is not."""

    area: str
    name: str
    verdict: Verdict
    found: str
    mend: str = ""


def ask(command: Sequence[str], *, seconds: float) -> str:
    """Return what a program answers on stdout; empty when it fails or takes too long."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=seconds, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
