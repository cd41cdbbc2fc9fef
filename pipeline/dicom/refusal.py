"""What a file is refused with."""

from __future__ import annotations

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason


class FileRefused(StudyRejected):
    """One file is refused for a stated reason; the scan goes on."""

    #: known where the header could be read before the fault was found
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    def __init__(self, sentence: str, reason: Reason) -> None:
        super().__init__(sentence, reason)
