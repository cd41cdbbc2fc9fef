"""Look through a source: a verdict for every file, and the studies that can be analysed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.process import Answer, Indexed, Refusal
from pipeline.dicom.headers.readers import HeaderReaders
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.series import duplicates
from pipeline.dicom.series.grouping import IndexedStudy, index
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import Entry
from pipeline.reasons import Reason

#: Refusals that take no slice away from the series they name.
_HARMLESS: Final = {Reason.FILE_NOT_IMAGE, Reason.FILE_MEDIA_DIRECTORY}


@dataclass(frozen=True, kw_only=True)
class ScannedFile:
    """One file of a source and the verdict on it."""

    #: as in the source, "/" between folders
    path: str
    size: int
    verdict: Reason
    detail: str | None = None
    sop_instance_uid: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What a source holds. Files are sorted by path, studies by UID."""

    files: tuple[ScannedFile, ...]
    studies: tuple[IndexedStudy, ...]

    @property
    def refusal(self) -> tuple[Reason, str] | None:
        """Why nothing of this source can be analysed, or None."""
        if not self.files:
            return Reason.SOURCE_EMPTY, "the source holds no files"
        if not self.studies:
            return Reason.SOURCE_NO_DICOM, "the source holds no DICOM images"
        return None


def scan(
    source: Path,
    *,
    on_progress: Callable[[int], None],
    processes: int | None = None,
    limits: HeaderLimits | None = None,
) -> ScanReport:
    """Scan a folder, or one file. Links are not followed; only headers are read.

    Args:
        source: the folder or file.
        on_progress: called with the number of files done, now and then and at the end.
        processes: how many header readers run at once; None = one per core, 8 at most.
        limits: what one header may state or cost.

    Raises:
        SourceRefused: the source does not exist or cannot be opened.

    """
    address = str(source)
    entries = open_source(address).entries()
    files: dict[str, ScannedFile] = {}
    headers: list[InstanceHeader] = []
    lost: dict[str, Reason] = {}
    for entry, answer in _answers(address, entries, processes, limits or HeaderLimits()):
        files[entry.name] = _verdict(entry, answer)
        if isinstance(answer, Indexed):
            headers.append(InstanceHeader.unpack(answer.packed))
        elif answer.series_instance_uid is not None and answer.reason not in _HARMLESS:
            lost[answer.series_instance_uid] = answer.reason
        if len(files) % 64 == 0:
            on_progress(len(files))
    kept, repeated = duplicates.part(headers, address)
    for header, refusal in repeated:
        entry = Entry(name=header.path, size=header.size)
        files[header.path] = _verdict(entry, refusal)
        if refusal.series_instance_uid is not None:
            lost[refusal.series_instance_uid] = refusal.reason
    on_progress(len(files))
    ordered = tuple(files[name] for name in sorted(files))
    return ScanReport(files=ordered, studies=index(kept, lost))


def _answers(
    address: str, entries: Iterable[Entry], processes: int | None, limits: HeaderLimits
) -> Iterator[tuple[Entry, Answer]]:
    readable: dict[str, Entry] = {}
    for entry in entries:
        if entry.refused is None:
            readable[entry.name] = entry
        else:
            reason, sentence = entry.refused
            yield entry, Refusal(reason=reason, sentence=sentence)
    count = processes or min(8, _cores())
    salt = secrets.token_bytes(16)
    with HeaderReaders(address, processes=count, limits=limits, salt=salt) as readers:
        for name, answer in readers.read(readable):
            yield readable[name], answer


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _verdict(entry: Entry, answer: Answer) -> ScannedFile:
    if isinstance(answer, Indexed):
        return ScannedFile(
            path=entry.name,
            size=entry.size,
            verdict=Reason.OK,
            sop_instance_uid=answer.sop_instance_uid,
        )
    return ScannedFile(
        path=entry.name,
        size=entry.size,
        verdict=answer.reason,
        detail=answer.sentence,
        sop_instance_uid=answer.sop_instance_uid,
    )
