"""How the command line ends: the five exit codes, and the one error that carries a sentence."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class ExitCode(enum.IntEnum):
    """What a caller's script may rely on."""

    WELL = 0
    PROGRAM_FAILED = 1
    USAGE = 2
    NOTHING_TO_ANALYSE = 3
    SOME_STUDIES_WITHOUT_RESULT = 4


class Problem(Exception):
    """Something the person at the terminal should read: one sentence, and how the command ends.

    Only sentences written for people become a Problem; anything else is a fault of ours and keeps
    its traceback.
    """

    def __init__(
        self, sentence: str, code: ExitCode = ExitCode.PROGRAM_FAILED, *, mend: str = ""
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
        self.mend = mend


def sentence_of(fault: Exception | str) -> str:
    """Return what an error says as a sentence: it begins large and ends with a stop."""
    said = str(fault) or type(fault).__name__
    return said[0].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")


NOTHING_THERE = frozenset({"source.missing", "source.empty", "source.no_dicom"})
"""reasons of a failed scan that mean: there was nothing to analyse"""


def of_batch(status: str, reason: str | None, jobs: Mapping[str, int]) -> ExitCode:
    """Return how a batch that has ended makes its command end.

    Args:
        status: ``finished``, ``failed`` or ``canceled``.
        reason: why it failed, as a reason code.
        jobs: how many jobs ended in which status.
    """
    if status == "failed" and reason not in NOTHING_THERE:
        return ExitCode.PROGRAM_FAILED
    if not any(jobs.values()):
        return ExitCode.NOTHING_TO_ANALYSE
    without = sum(count for ended, count in jobs.items() if ended != "succeeded")
    return ExitCode.SOME_STUDIES_WITHOUT_RESULT if without else ExitCode.WELL
