"""What must hold for every input, however broken."""

from __future__ import annotations

import random
import resource
import sys
from types import TracebackType
from typing import Final, Self

from fuzz import inputs
from pipeline.dicom.headers.answers import Indexed, decode, encode
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import HeaderReader, read_by_pydicom
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused

LIMITS: Final = HeaderLimits(pixels=2**24, inflated_bytes=2**22, memory_bytes=2**29)
#: bytes that reading one input of a few hundred kB may add to what the process has ever used
_MEMORY: Final = 2**27
_SALT: Final = b"fuzz"
#: Inputs after which a reader is made anew, and the files of each series that it sees first: what
#: it learns wears away with broken ones.
_FORGOTTEN, _SEEN = 128, 4


class Finding(Exception):
    """Something that must hold does not."""


class Held:
    """Bytes as an open file of a source."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes, as ``OpenFile.read_at`` says."""
        return self._data[offset : offset + length]

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view``, as ``OpenFile.read_into`` says."""
        part = self._data[offset : offset + len(view)]
        view[: len(part)] = part
        return len(part)

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held open."""


class Checker:
    """Checks inputs one after the other, with a reader that has seen those before."""

    def __init__(self) -> None:
        self._reader = _experienced()
        self._checked = 0

    def check(self, data: bytes, number: int) -> bool:
        """Check one input; say whether it holds an image.

        Raises:
            Finding: with a sentence.
            Exception: whatever else than ``FileRefused`` has escaped.

        """
        before = _peak()
        file = Held(data)
        self._checked += 1
        if self._checked % _FORGOTTEN == 0:
            self._reader = _experienced()
        warm = _answer(self._reader, file)
        if warm != _answer(HeaderReader(LIMITS, _SALT), file):
            raise Finding("what a reader has read before changes what it answers")
        other = _by_pydicom(file)
        if isinstance(warm, Indexed) != isinstance(other, InstanceHeader):
            raise Finding(f"one way answers {_brief(warm)}, the other {_brief(other)}")
        if isinstance(warm, Indexed) and isinstance(other, InstanceHeader):
            _check_header(warm, other)
            _check_damaged(warm, random.Random(number))  # noqa: S311 - no secrets
        if _peak() - before > _MEMORY:
            raise Finding(f"it takes {_peak() - before} bytes of memory")
        return isinstance(warm, Indexed)


def _experienced() -> HeaderReader:
    """Return a reader that knows the series which most inputs are made from."""
    reader = HeaderReader(LIMITS, _SALT)
    for data in inputs.slices(_SEEN):
        _answer(reader, Held(data))
    return reader


def _answer(reader: HeaderReader, file: Held) -> Indexed | tuple[str, str]:
    try:
        return reader.index(file, "x")
    except FileRefused as refused:
        return refused.reason.value, refused.sentence


def _by_pydicom(file: Held) -> InstanceHeader | tuple[str, str]:
    try:
        return read_by_pydicom(file, name="x", limits=LIMITS, salt=_SALT)
    except FileRefused as refused:
        return refused.reason.value, refused.sentence


def _check_header(indexed: Indexed, other: InstanceHeader) -> None:
    header = InstanceHeader.unpack(indexed.packed)
    # NaN is not equal to itself; what it prints as is.
    if repr(header) != repr(other):
        names = [
            name
            for name in header.__slots__
            if repr(getattr(header, name)) != repr(getattr(other, name))
        ]
        raise Finding(f"the two ways differ in {', '.join(names)}")
    if repr(InstanceHeader.unpack(header.pack())) != repr(header):
        raise Finding("a header is not what it was before it was packed")
    if list(decode(encode([indexed]))) != [indexed]:
        raise Finding("an answer is not what it was before it was sent")


def _check_damaged(indexed: Indexed, chance: random.Random) -> None:
    """Damage what is packed and what is sent: a ValueError, or some header, and nothing else."""
    for work, sound in ((InstanceHeader.unpack, indexed.packed), (_decoded, encode([indexed]))):
        damaged = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(min(200, len(damaged)))] = chance.randint(0, 255)
        try:
            work(bytes(damaged))
        except ValueError:
            continue


def _decoded(message: bytes) -> object:
    return list(decode(message))


def _brief(answer: Indexed | InstanceHeader | tuple[str, str]) -> str:
    return "a header" if isinstance(answer, Indexed | InstanceHeader) else " ".join(answer)


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
