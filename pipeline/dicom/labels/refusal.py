"""The two ways in which a label object is refused."""

from __future__ import annotations

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason


def invalid(sentence: str) -> StudyRejected:
    """Return the refusal of an object that breaks its own rules."""
    return StudyRejected(sentence, Reason.LABEL_INVALID)


def mismatch(sentence: str) -> StudyRejected:
    """Return the refusal of an object that does not lie on the image it is given with."""
    return StudyRejected(sentence, Reason.LABEL_MISMATCH)
