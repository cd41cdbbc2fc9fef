"""What a file, or a source as a whole, is refused with."""

from __future__ import annotations

from pipeline.errors import PipelineError, StudyRejected
from pipeline.reasons import Reason


class SourceRefused(PipelineError):
    """The source as a whole cannot be scanned."""


class FileRefused(StudyRejected):
    """One file is refused for a stated reason; the scan goes on."""

    #: known where the header could be read before the fault was found
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    def __init__(self, sentence: str, reason: Reason) -> None:
        super().__init__(sentence, reason)
