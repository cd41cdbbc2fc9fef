"""The child process that reads headers: chunks of paths in, one answer per file out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

from pipeline.dicom.headers import InstanceHeader, read_header
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.processes import confine
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a file is refused; ``series_instance_uid`` where the header told before it failed."""

    reason: Reason
    sentence: str
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None


Answer: TypeAlias = InstanceHeader | Refusal


def serve(connection: Connection, root: str, limits: HeaderLimits, salt: bytes) -> None:
    """Answer for lists of names relative to ``root``, file by file, until an empty list comes."""
    confine(memory_bytes=limits.memory_bytes, seconds=None)
    # Once the scan has gone there is nobody to answer: an end, not an error.
    with contextlib.suppress(EOFError, BrokenPipeError):
        while names := connection.recv():
            for name in names:
                connection.send(_answer(Path(root, name), name, limits, salt))


def _answer(path: Path, name: str, limits: HeaderLimits, salt: bytes) -> Answer:
    try:
        return read_header(path, name=name, limits=limits, salt=salt)
    except FileRefused as refused:
        return Refusal(
            reason=refused.reason,
            sentence=refused.sentence,
            series_instance_uid=refused.series_instance_uid,
            sop_instance_uid=refused.sop_instance_uid,
        )
