"""Carry every file of a source through children into a folder, and say what became of each."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.deidentify.keys import Key
from pipeline.deidentify.pool import Answer, Pool
from pipeline.deidentify.process import Errand, Post, Work
from pipeline.dicom.sources.opening import open_source
from pipeline.errors import ComputeFailed
from pipeline.reasons import Reason

_WAITING: Final = ".waiting"
#: verdicts on files that a folder of DICOM files holds without harm
_HARMLESS: Final = frozenset({Reason.OK, Reason.FILE_NOT_DICOM, Reason.FILE_MEDIA_DIRECTORY})


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is carried, how and where to."""

    #: of the source, as ``open_source`` takes it
    source: str
    out: Path
    work: Work
    key: Key
    processes: int = 1
    #: seconds for one file, and the memory its child may take beyond its own
    seconds: float = 120.0
    memory_bytes: int = 8 * 2**30


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one file of the source. Nothing here tells whose it was."""

    #: place in the listing of the source, from 1
    number: int
    #: keyed digest of its name: finds it for who has the key
    source: str
    reason: Reason
    detail: str = ""
    #: name of the copy below the folder; empty where there is none
    copy: str = ""

    @property
    def is_loss(self) -> bool:
        """Say whether something that is DICOM, and no table of contents, has no copy."""
        return self.reason not in _HARMLESS


@dataclass
class Report:
    """The verdicts of a run, in the order of the source."""

    verdicts: list[Verdict] = field(default_factory=list)
    #: instances of which the copy was there already
    kept: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Return how many files got which verdict."""
        return dict(sorted(Counter(one.reason.value for one in self.verdicts).items()))

    @property
    def is_whole(self) -> bool:
        """Say whether everything that is DICOM was copied."""
        return not any(one.is_loss for one in self.verdicts)


def carry(
    order: Order, *, keep: Callable[[dict[str, Any]], None], on_progress: Callable[[int], None]
) -> Report:
    """Carry every file of a source over. What an earlier run has carried is not written again.

    Args:
        order: what, how and where to.
        keep: called with the originals of every instance that has a copy.
        on_progress: called with the number of files done.

    Raises:
        SourceRefused: the source does not exist or cannot be listed.
        ComputeFailed: the folder cannot be written.

    """
    waiting = order.out / _WAITING
    try:
        shutil.rmtree(waiting, ignore_errors=True)
        waiting.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise unwritable(error) from None
    post = Post(
        address=order.source,
        folder=order.out,
        waiting=waiting,
        work=order.work,
        memory_bytes=order.memory_bytes,
    )
    carrier = _Carrier(order, waiting, keep)
    with Pool(post, processes=order.processes, seconds=order.seconds) as pool:
        for errand, answer in pool.answers(carrier.errands()):
            carrier.take(errand, answer, pool)
            on_progress(len(carrier.verdicts))
    shutil.rmtree(waiting, ignore_errors=True)
    report = carrier.report()
    on_progress(len(report.verdicts))
    return report


class _Carrier:
    """The run so far: verdicts by number, and which file each copy came from."""

    def __init__(self, order: Order, waiting: Path, keep: Callable[[dict[str, Any]], None]) -> None:
        self._order, self._waiting, self._keep = order, waiting, keep
        self.verdicts: dict[int, Verdict] = {}
        self._first: dict[str, int] = {}
        self._disputed: set[str] = set()
        self._kept = 0

    def errands(self) -> Iterator[Errand]:
        """Yield what there is to read; what is no regular file gets its verdict here."""
        for number, entry in enumerate(open_source(self._order.source).entries(), 1):
            if entry.refused is None:
                yield Errand(number=number, name=entry.name)
            else:
                self._note(number, entry.name, *entry.refused)

    def take(self, errand: Errand, answer: Answer, pool: Pool) -> None:
        """Take the answer for one file: put its copy in place, or note why there is none."""
        if "failed" in answer:
            raise ComputeFailed(str(answer["sentence"]), Reason(answer["failed"]))
        if "refused" in answer:
            reason = Reason(answer["refused"])
            self._note(errand.number, errand.name, reason, str(answer["sentence"]))
            return
        copy = str(answer["made"])
        if copy in self._first:
            self._settle_second(errand, answer, pool)
            return
        self._first[copy] = errand.number
        if answer["digest"] is None:
            self._kept += 1
        else:
            self._place(errand, copy)
        self._keep(answer["originals"])
        self._note(errand.number, errand.name, Reason.OK, copy=copy)

    def report(self) -> Report:
        """Return the verdicts in the order of the source."""
        ordered = [self.verdicts[number] for number in sorted(self.verdicts)]
        return Report(verdicts=ordered, kept=self._kept)

    def _settle_second(self, errand: Errand, answer: Answer, pool: Pool) -> None:
        """Judge a file whose SOPInstanceUID an earlier one has: a copy of it, or a dispute."""
        copy = str(answer["made"])
        digest = answer["digest"]
        if digest is None and copy not in self._disputed:
            again = Errand(number=errand.number, name=errand.name, is_again=True)
            digest = pool.ask(again).get("digest")
        (self._waiting / f"{errand.number}.dcm").unlink(missing_ok=True)
        path = self._order.out / copy
        if copy not in self._disputed and digest == _sha256(path):
            sentence = "a second file of an instance that was copied already"
            self._note(errand.number, errand.name, Reason.FILE_DUPLICATE, sentence)
            return
        sentence = "two files state the same SOPInstanceUID and differ; neither is copied"
        path.unlink(missing_ok=True)
        self._disputed.add(copy)
        first = self.verdicts[self._first[copy]]
        self.verdicts[first.number] = Verdict(
            number=first.number,
            source=first.source,
            reason=Reason.FILE_DUPLICATE,
            detail=sentence,
        )
        self._note(errand.number, errand.name, Reason.FILE_DUPLICATE, sentence)

    def _place(self, errand: Errand, copy: str) -> None:
        final = self._order.out / copy
        try:
            final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._waiting / f"{errand.number}.dcm").rename(final)
            _sync(final.parent)
        except OSError as error:
            raise unwritable(error) from None

    def _note(
        self, number: int, name: str, reason: Reason, detail: str = "", *, copy: str = ""
    ) -> None:
        key = self._order.key
        self.verdicts[number] = Verdict(
            number=number,
            source=key.derive("file name", name)[:8].hex(),
            reason=reason,
            detail=detail,
            copy=copy,
        )


def unwritable(error: OSError) -> ComputeFailed:
    """Return what is raised where the folder cannot be written."""
    sentence = f"the folder cannot be written: {os.strerror(error.errno or 0)}"
    return ComputeFailed(sentence, Reason.RUN_DISK_FULL)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
