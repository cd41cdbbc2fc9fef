"""The child process that reads headers: chunks of paths in, one answer per file out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeAlias

from pipeline.dicom.headers.reading import HeaderReader, Indexed
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.processes import confine
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import Source
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a file is refused; the UIDs where its header told them before it failed."""

    reason: Reason
    sentence: str
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None


__all__ = ["Answer", "Indexed", "Refusal", "serve"]

Answer: TypeAlias = Indexed | Refusal


def serve(connection: Connection, address: str, limits: HeaderLimits, salt: bytes) -> None:
    """Answer for lists of names in the source, file by file, until an empty list comes."""
    confine(memory_bytes=limits.memory_bytes, seconds=None)
    source = open_source(address)
    reader = HeaderReader(limits, salt)
    # Once the scan has gone there is nobody to answer: an end, not an error.
    with contextlib.suppress(EOFError, BrokenPipeError):
        while names := connection.recv():
            for name in names:
                connection.send(_answer(source, reader, name))


def _answer(source: Source, reader: HeaderReader, name: str) -> Answer:
    try:
        with source.open(name) as file:
            return reader.index(file, name)
    except FileRefused as refused:
        return Refusal(
            reason=refused.reason,
            sentence=refused.sentence,
            study_instance_uid=refused.study_instance_uid,
            series_instance_uid=refused.series_instance_uid,
            sop_instance_uid=refused.sop_instance_uid,
        )
