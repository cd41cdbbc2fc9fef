"""Look through a source: a verdict for every file, and the studies that can be analysed.

Any number of files fits: they stream through an index on disk, and of the studies one at a time
is in memory. A scan that was cut off goes on behind the last file it noted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pipeline.dicom.file_index import FileIndex, IndexBusy
from pipeline.dicom.headers import kept, packing
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.process import Answer, Refusal
from pipeline.dicom.headers.readers import HeaderReaders
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.series import duplicates
from pipeline.dicom.series.grouping import IndexedSeries, IndexedStudy, index
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import Entry
from pipeline.reasons import Reason

__all__ = ["IndexBusy", "ScanReport", "ScannedFile", "scan"]

#: Refusals that take no slice away from the series they name.
_HARMLESS: Final = (Reason.FILE_NOT_IMAGE, Reason.FILE_MEDIA_DIRECTORY)
#: Refusals that come before a series is known, of what may well have been a slice of one.
_SUSPECT: Final = (
    Reason.FILE_EMPTY,
    Reason.FILE_UNREADABLE,
    Reason.FILE_NOT_REGULAR,
    Reason.FILE_TRUNCATED,
    Reason.FILE_BAD_HEADER,
    Reason.FILE_UID_INVALID,
    Reason.FILE_DUPLICATE,
    Reason.FILE_TOO_NESTED,
    Reason.FILE_MISSING,
    Reason.FILE_OUTSIDE,
    Reason.FILE_DAMAGED,
    Reason.FILE_TOO_LARGE,
    Reason.PIXELS_TOO_LARGE,
)
#: entries compared with the index at a time
_CHUNK: Final = 500
#: Raised by one, an index made before the change is not taken up again.
_VERSION: Final = 2


@dataclass(frozen=True, kw_only=True)
class ScannedFile:
    """One file of a source and the verdict on it."""

    #: as in the source, "/" between folders
    path: str
    size: int
    verdict: Reason
    detail: str | None = None
    sop_instance_uid: str | None = None


class ScanReport:
    """What a source holds, asked from the index of the scan. To be closed, or used in ``with``.

    The same source gives the same report, in whatever order its files were read.
    """

    def __init__(self, files: FileIndex) -> None:
        self._files = files
        #: how many files got each verdict
        self.counts: dict[Reason, int] = files.counts()

    @property
    def total(self) -> int:
        """How many files the source holds."""
        return sum(self.counts.values())

    @property
    def refusal(self) -> tuple[Reason, str] | None:
        """Why nothing of this source can be analysed, or None."""
        if not self.counts:
            return Reason.SOURCE_EMPTY, "the source holds no files"
        if Reason.OK not in self.counts:
            return Reason.SOURCE_NO_DICOM, "the source holds no DICOM images"
        return None

    def files(self) -> Iterator[ScannedFile]:
        """Yield every file, sorted by path."""
        return self._scanned(loose=False)

    def loose_files(self) -> Iterator[ScannedFile]:
        """Yield the files that belong to no series of ``studies``, sorted by path."""
        return self._scanned(loose=True)

    def studies(self) -> Iterator[IndexedStudy]:
        """Yield every study, sorted by UID; one is in memory at a time.

        A series that a refused file says it belongs to is told so, and a volume of it is
        refused. Where a file was refused before it told its series, nobody can know; series
        that are alone in the folders of such files carry their number as the attribute
        ``unread_neighbours``.
        """
        for uid in self._files.studies():
            headers = [header for _, header in _unpacked(self._files, self._files.images(uid))]
            series = {header.series_instance_uid for header in headers}
            lost = {one: self._files.lost(one, _HARMLESS) for one in sorted(series)}
            known = {one: reason for one, reason in lost.items() if reason is not None}
            for study in index(headers, known):
                counted = tuple(self._with_neighbours(one) for one in study.series)
                yield dataclasses.replace(study, series=counted)

    def headers_of(self, series: IndexedSeries) -> bytes | None:
        """Return the headers of a series for ``SeriesFiles.headers``; None where all are parsed.

        Of files on a disk, where this scan knows the time and they had not just changed.
        """
        stamps = self._files.settled([header.path for header in series.instances])
        return kept.keep(series.instances, stamps) if stamps else None

    def count_studies(self) -> int:
        """Return how many studies there are."""
        return sum(1 for _ in self._files.studies())

    def close(self) -> None:
        """Let go of the index; one that has a path stays."""
        self._files.close()

    def __enter__(self) -> Self:
        """Return the report."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the index."""
        self.close()

    def _scanned(self, *, loose: bool) -> Iterator[ScannedFile]:
        for row in self._files.files(loose=loose):
            yield ScannedFile(
                path=row.name,
                size=row.size,
                verdict=row.verdict,
                detail=row.sentence,
                sop_instance_uid=row.sop_instance_uid,
            )

    def _with_neighbours(self, series: IndexedSeries) -> IndexedSeries:
        count = self._files.strays(series.series_instance_uid, _SUSPECT)
        attributes = {**series.attributes, "unread_neighbours": count}
        return dataclasses.replace(series, attributes=attributes)


def scan(
    address: str | Path,
    *,
    on_progress: Callable[[int], None],
    index: Path | None = None,
    processes: int | None = None,
    limits: HeaderLimits | None = None,
    now: int = 0,
) -> ScanReport:
    """Scan a source. Links are not followed; only headers are read.

    Args:
        address: of the source, as ``open_source`` takes it.
        on_progress: called with the number of files done, now and then and at the end. What it
            raises ends the scan; the index keeps what was done.
        index: where the findings are kept, so that another scan of the same source reads only
            what is new or changed; None = nowhere.
        processes: how many header readers run at once; None = one per core, 8 at most.
        limits: what one header may state or cost.
        now: in ns since the epoch; 0 = not known, and no headers are kept for reads.

    Raises:
        SourceRefused: the source does not exist or cannot be opened.
        IndexBusy: another process scans into this index.

    """
    address, limits = str(address), limits or HeaderLimits()
    entries = open_source(address).entries()
    files = FileIndex(index, _key(address, limits), now)
    try:
        filling = _Filling(files, entries, on_progress)
        count = processes or min(8, _cores())
        with HeaderReaders(address, processes=count, limits=limits, salt=files.salt) as readers:
            for name, answer in readers.read(filling.unread()):
                filling.note(name, answer)
        files.finish()
        _part_twins(files, address)
        on_progress(filling.done)
        return ScanReport(files)
    except BaseException:  # raised again: nobody else would close what was opened
        files.close()
        raise


class _Filling:
    """Carries entries to the readers and their answers to the index."""

    def __init__(
        self, files: FileIndex, entries: Iterator[Entry], on_progress: Callable[[int], None]
    ) -> None:
        self._files, self._entries, self._on_progress = files, entries, on_progress
        #: given to a reader and not answered for
        self._given: dict[str, Entry] = {}
        self.done = 0
        self._told = 0

    def unread(self) -> Iterator[str]:
        """Yield the names of the files that must be read, a chunk of entries in memory."""
        while chunk := list(islice(self._entries, _CHUNK)):
            wanted = self._files.unread(chunk)
            self._advance(len(chunk) - len(wanted))
            for entry in wanted:
                self._given[entry.name] = entry
                yield entry.name

    def note(self, name: str, answer: Answer) -> None:
        """Note what a reader says of a file."""
        self._files.keep(self._given.pop(name), answer)
        self._advance(1)

    def _advance(self, count: int) -> None:
        self.done += count
        if self.done - self._told >= 64:
            self._told = self.done
            self._on_progress(self.done)


def _part_twins(files: FileIndex, address: str) -> None:
    """Keep each SOPInstanceUID once; where two files disagree on what it is, keep neither.

    A second file with the same facts and, where both are encoded alike, the same pixels is a
    copy: the first by name is kept. Otherwise two images claim one identity and both are
    refused, and their series must not be read as if it were whole.
    """
    source = open_source(address)
    for sop in files.repeated():
        images = _unpacked(files, files.images_of(sop))
        kept, first = next(images, ("", None))
        if first is None or all(duplicates.is_copy(first, one, source) for _, one in images):
            files.mark_copies(sop, kept)
        else:
            files.mark_conflict(sop)


def _unpacked(
    files: FileIndex, images: Iterator[tuple[str, bytes]]
) -> Iterator[tuple[str, InstanceHeader]]:
    """Yield (name, header); a file whose reader answered nonsense is refused."""
    for name, packed in images:
        try:
            yield name, InstanceHeader.unpack(packed)
        except ValueError:
            # Only a reader that a hostile file has taken over packs what cannot be unpacked.
            sentence = "its reader answered nonsense"
            files.spoil(name, Refusal(reason=Reason.FILE_BAD_HEADER, sentence=sentence))


def _key(address: str, limits: HeaderLimits) -> str:
    """Say what the findings depend on besides the files."""
    return f"{_VERSION}\n{address}\n{limits}\n{packing.VERSION}"


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
