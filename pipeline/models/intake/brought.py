"""The files of a bundle as it is brought: a folder or a ZIP, listed and judged, none unpacked."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.archive import ArchiveLimits
from pipeline.dicom.sources.archive_zip import ZipArchive
from pipeline.dicom.sources.folder import Folder
from pipeline.dicom.sources.source import Entry, OpenFile, Source
from pipeline.models.bundle import METADATA, BundleRefused
from pipeline.models.intake.forms import HEAD, Fate, Judgement, judge
from pipeline.reasons import Reason

_BLOCK: Final = 1 << 20
#: of a kind, so many faults are told and the rest counted
_TOLD: Final = 20


@dataclass(frozen=True, kw_only=True)
class IntakeLimits:
    """How much a bundle may ask for, before anything of it is unpacked or read."""

    files: int = 10_000
    #: of all files, and of one: weights
    total_bytes: int = 2**35
    file_bytes: int = 2**34
    #: of one file that is kept: a text or a picture
    kept_bytes: int = 2**25
    #: how many times its stored size a file may unpack to, where that is over a mebibyte
    ratio: int = 200
    #: of the process that reads the weights: address space beyond what they take, and time
    memory_bytes: int = 2**32
    seconds: float = 900.0


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A bundle as it was brought. Names are relative to the bundle, not to the archive."""

    source: Source
    #: what stands before each name in the source: "" or one folder and "/"
    prefix: str
    sizes: Mapping[str, int]
    judged: Mapping[str, Judgement]

    def of(self, fate: Fate) -> list[str]:
        """Return the names of that fate, sorted."""
        return sorted(name for name, one in self.judged.items() if one.fate is fate)

    def extract(self, name: str, target: Path) -> Mapping[str, str]:
        """Write a file to ``target`` and return its digests by the name of the algorithm.

        Raises:
            FileRefused: it cannot be read, or is not what the archive states.

        """
        digests = {
            "sha256": hashlib.sha256(),
            # what the lists of large files still state; they guard against damage, not malice
            "sha1": hashlib.sha1(usedforsecurity=False),
            "md5": hashlib.md5(usedforsecurity=False),
        }
        with self.source.open(self.prefix + name) as file, target.open("xb") as stream:
            for block in _blocks(file):
                stream.write(block)
                for digest in digests.values():
                    digest.update(block)
        return {algorithm: digest.hexdigest() for algorithm, digest in digests.items()}


def look_into(path: Path, limits: IntakeLimits) -> Brought:
    """List and judge the files of a folder or a ZIP. Links are not followed, nothing is unpacked.

    Raises:
        BundleRefused: it is neither; it holds more than the limits allow; a file in it is refused
            by its name, its kind or its first bytes. Every fault is listed.

    """
    try:
        source = _source(path, limits)
        entries = list(_bounded(source.entries(), limits))
    except (FileRefused, SourceRefused) as refused:
        raise BundleRefused(refused.sentence, Reason.MODEL_BUNDLE_REFUSED) from None
    prefix = _prefix({entry.name for entry in entries})
    inside = [entry for entry in entries if entry.name.startswith(prefix)]
    judged = {entry.name.removeprefix(prefix): _judged(source, entry, prefix) for entry in inside}
    judged |= {
        entry.name: Judgement(Fate.LEFT_OUT, "lies outside the folder of the bundle")
        for entry in entries
        if not entry.name.startswith(prefix) and entry.refused is None
    }
    faults = [f"{entry.name!r}: {entry.refused[1]}" for entry in entries if entry.refused]
    faults += [
        f"{name!r} {one.why}"
        for name, one in judged.items()
        if one.fate is Fate.REFUSED and one.why
    ]
    sizes = {entry.name.removeprefix(prefix): entry.size for entry in inside}
    faults += [
        f"{name!r} has {sizes[name]} bytes, more than the {limits.kept_bytes} allowed"
        for name, one in judged.items()
        if one.fate is Fate.KEPT and sizes[name] > limits.kept_bytes
    ]
    if faults:
        raise BundleRefused(_shortened(faults), Reason.MODEL_BUNDLE_REFUSED)
    return Brought(source=source, prefix=prefix, sizes=sizes, judged=judged)


def _source(path: Path, limits: IntakeLimits) -> Source:
    if path.is_dir():
        return Folder(path)
    if not zipfile.is_zipfile(path):
        raise SourceRefused("it is neither a folder nor a ZIP", Reason.SOURCE_UNREADABLE)
    bounds = ArchiveLimits(
        members=limits.files,
        total_bytes=limits.total_bytes,
        member_bytes=limits.file_bytes,
        ratio=limits.ratio,
        free_bytes=_BLOCK,
    )
    return ZipArchive(path, bounds)


def _bounded(entries: Iterator[Entry], limits: IntakeLimits) -> Iterator[Entry]:
    count = total = 0
    for entry in entries:
        count, total = count + 1, total + entry.size
        if count > limits.files:
            sentence = f"the bundle holds more than {limits.files} files"
            raise SourceRefused(sentence, Reason.SOURCE_TOO_LARGE)
        if entry.size > limits.file_bytes or total > limits.total_bytes:
            sentence = f"the bundle holds more than {limits.total_bytes} bytes"
            raise SourceRefused(sentence, Reason.SOURCE_TOO_LARGE)
        yield entry


def _prefix(names: set[str]) -> str:
    """Return what stands before every name: archives often hold one folder, and that the bundle."""
    if METADATA in names:
        return ""
    tops = {name.removesuffix(METADATA) for name in names if name.endswith("/" + METADATA)}
    shallow = sorted(top for top in tops if top.count("/") == 1)
    if not shallow:
        sentence = f"{METADATA} is missing; it says what a bundle is"
        raise BundleRefused(sentence, Reason.MODEL_BUNDLE_REFUSED)
    if len(shallow) > 1:
        sentence = f"there are {len(shallow)} bundles in it: bring one at a time"
        raise BundleRefused(sentence, Reason.MODEL_BUNDLE_REFUSED)
    return shallow[0]


def _judged(source: Source, entry: Entry, prefix: str) -> Judgement:
    """Judge a file by its name and first bytes; one that is refused already says why elsewhere."""
    if entry.refused is not None:
        return Judgement(Fate.REFUSED)
    try:
        with source.open(entry.name) as file:
            return judge(entry.name.removeprefix(prefix), file.read_at(0, HEAD))
    except FileRefused as refused:
        return Judgement(Fate.REFUSED, f"cannot be used: {refused.sentence}")


def _blocks(file: OpenFile) -> Iterator[bytes]:
    """Yield a file from first to last; ``read_into`` so that a checksum is seen before use."""
    buffer = memoryview(bytearray(_BLOCK))
    place = 0
    while count := file.read_into(place, buffer):
        yield bytes(buffer[:count])
        place += count
    if place != file.size:
        raise FileRefused("it changed while it was read", Reason.FILE_TRUNCATED)


def _shortened(faults: list[str]) -> list[str]:
    more = len(faults) - _TOLD
    return faults if more <= 0 else [*faults[:_TOLD], f"and {more} more like these"]
