"""Read the pixels of plain slices while the headers of the others are still parsed.

Where a slice will lie is only known once all headers are. But files lie in the order of the
slices or against it nearly always, so two headers tell where each would lie. What was read to a
place that turns out to be another's is read again; nothing is taken on trust.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.limits import DecodeLimits
from pipeline.dicom.pixels.memory import Target
from pipeline.dicom.pixels.stored import Frames, dtype_of, is_straight
from pipeline.dicom.series.frames import normal_of
from pipeline.dicom.sources.source import OpenFile

#: bytes of a series below which a thread costs more than it saves
_WORTH_IT: Final = 2**23
#: slices handed over at once: each handing over costs as much as parsing half a header
_CHUNK: Final = 8


@dataclass(frozen=True)
class _Wanted:
    header: InstanceHeader
    file: OpenFile
    slot: int


class Ahead:
    """Reads slices of one series to where they probably lie.

    Args:
        reader: opens the files.
        target: the memory of the volume.
        count: how many slices there are.
        limits: a series beyond them is not read ahead, but refused later.

    """

    def __init__(self, reader: Frames, target: Target, count: int, limits: DecodeLimits) -> None:
        self._reader, self._target = reader, target
        self._count, self._limits = count, limits
        self._first: InstanceHeader | None = None
        self._out: NDArray[Any] | None = None
        self._is_descending = False
        self._chunk: list[_Wanted] = []
        self._thread: ThreadPoolExecutor | None = None
        self._read: list[Future[dict[str, int]]] = []

    def offer(self, index: int, header: InstanceHeader) -> None:
        """Take the header of file ``index``, in the order of the files."""
        if index == 0:
            self._first = header
        elif index == 1 and self._first is not None and self._begin(self._first, header):
            self._want(0, self._first)
        if self._out is not None and index > 0 and self._is_alike(header):
            self._want(index, header)
        if len(self._chunk) >= _CHUNK:
            self._hand_over()

    def finish(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, int]:
        """Return path -> slot of what was read whole, where it fits an array of the target.

        Called in every case before the target is filled: the thread has ended after it.
        """
        self._hand_over()
        if self._thread is None or self._out is None:
            return {}
        done: dict[str, int] = {}
        for one in self._read:
            done |= one.result()
        self._thread.shutdown()
        return done if (self._out.shape, self._out.dtype) == (shape, dtype) else {}

    def _begin(self, first: InstanceHeader, second: InstanceHeader) -> bool:
        shape, dtype = (self._count, first.rows, first.columns), dtype_of(first)
        size = first.rows * first.columns * self._count
        is_within = size <= self._limits.pixels
        is_within = is_within and size * dtype.itemsize <= self._limits.memory_bytes // 2
        places = (first.position, second.position, first.orientation)
        if size * dtype.itemsize < _WORTH_IT or not is_within or None in places:
            return False
        if not self._is_alike(first) or not self._is_alike(second):
            return False
        step = np.subtract(second.position or (), first.position or ())
        self._is_descending = bool(step @ normal_of(first.orientation or ()) < 0)
        self._out = self._target.array(shape, dtype)
        self._thread = ThreadPoolExecutor(1)
        return True

    def _is_alike(self, header: InstanceHeader) -> bool:
        first = self._first
        return (
            first is not None
            and is_straight(header)
            and header.frames == header.samples == 1
            and header.bits_allocated <= 32
            and (header.rows, header.columns) == (first.rows, first.columns)
            and dtype_of(header) == dtype_of(first)
        )

    def _want(self, index: int, header: InstanceHeader) -> None:
        slot = self._count - 1 - index if self._is_descending else index
        file = self._reader.kept(header.path)
        if file is not None:  # nobody closes it while the thread reads
            self._chunk.append(_Wanted(header, file, slot))

    def _hand_over(self) -> None:
        if self._thread is not None and self._chunk:
            self._read.append(self._thread.submit(self._read_chunk, self._chunk))
            self._chunk = []

    def _read_chunk(self, chunk: list[_Wanted]) -> dict[str, int]:
        """Return path -> slot of what was read whole; what was not is read, and refused, later."""
        assert self._out is not None  # noqa: S101 - set before the first chunk
        done = {}
        for one in chunk:
            view = self._out[one.slot].data.cast("B")
            if one.file.read_into(one.header.pixels.offset, view) == len(view):
                done[one.header.path] = one.slot
        return done
