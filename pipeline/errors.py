"""The error tree of the pipeline.

PipelineError
├── StudyRejected      permanent: the input is refused for a stated reason
│   └── ModelMismatch  the input does not fit what the model's metadata states
├── TrainingRefused    permanent: the recipe or the manifest is refused, or the loss diverged
└── ComputeFailed      the software or the machine could not; another attempt may
    ├── OutOfMemory
    ├── DeadlineExceeded
    └── Interrupted    the holder of the job asked to stop (lease lost, canceled, shutting down)
"""

from __future__ import annotations

import errno
from typing import Final

from pipeline.reasons import Reason

#: errno values that mean "no room": the disk, and the quota of the user
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class PipelineError(Exception):
    """Base: a reason code and a sentence. Sentences carry no patient data and no file names."""

    reason: Reason = Reason.RUN_ERROR

    def __init__(self, sentence: str, reason: Reason | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        if reason is not None:
            self.reason = reason

    def __reduce__(self) -> tuple[type[PipelineError], tuple[str, Reason]]:
        """Survive the way back from a child process."""
        return type(self), (self.sentence, self.reason)


class StudyRejected(PipelineError):
    """The input is refused for a stated reason. Trying again cannot help."""


class ModelMismatch(StudyRejected):
    """The input does not fit what the model's metadata states."""

    reason = Reason.MODEL_INPUT_MISMATCH


class TrainingRefused(PipelineError):
    """A training is refused for a stated reason. Trying again cannot help."""

    reason = Reason.TRAINING_MANIFEST_INVALID


class ComputeFailed(PipelineError):
    """The software or the machine could not. Another attempt may."""


class OutOfMemory(ComputeFailed):
    """Memory was used up, also after every step down."""

    reason = Reason.RUN_OUT_OF_MEMORY


class DeadlineExceeded(ComputeFailed):
    """The job took longer than its analysis allows."""

    reason = Reason.RUN_DEADLINE


class Interrupted(ComputeFailed):
    """The holder of the job asked to stop between two windows."""

    reason = Reason.RUN_CANCELED
