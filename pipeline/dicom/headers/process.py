"""The child process that reads headers: names in, answers out, many in a message."""

from __future__ import annotations

import contextlib
from ctypes import c_uint64
from multiprocessing.connection import Connection

from pipeline.dicom.headers.answers import Answer, Indexed, Refusal, encode
from pipeline.dicom.headers.reading import HeaderReader
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.processes import confine
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import Source

__all__ = ["Answer", "Indexed", "Refusal", "serve"]


def serve(
    connection: Connection, done: c_uint64, address: str, limits: HeaderLimits, salt: bytes
) -> None:
    """Answer for lists of names in the source, list by list, until an empty list comes.

    Args:
        connection: names come in and answers go out.
        done: in shared memory: how many files have been read, so that the parent knows at which
            one this process is when it dies or hangs.
        address: of the source.
        limits: bounds of this process and of each header.
        salt: key of the patient digests.

    """
    confine(memory_bytes=limits.memory_bytes, seconds=None)
    source = open_source(address)
    reader = HeaderReader(limits, salt)
    # Once the scan has gone there is nobody to answer: an end, not an error.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while names := connection.recv():
            answers: list[Answer] = []
            for name in names:
                answers.append(_answer(source, reader, name))
                done.value += 1
            connection.send_bytes(encode(answers))


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
