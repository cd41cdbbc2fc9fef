"""The runs of elements that all files of a series share, byte for byte."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, TypeAlias

from pipeline.dicom.headers.sizes import size_of
from pipeline.dicom.headers.wanted import KEYS

#: the bytes of the run; the wanted values among them, by tag
Run: TypeAlias = tuple[bytes, dict[bytes, bytes]]

_WANTED: Final = frozenset(KEYS.values())
#: Times that the runs of one series are cut anew.
_LESSONS: Final = 16


class Runs:
    """Learns from the files of one series at a time which elements do not change in it.

    A run is used only where the very same bytes stand in a file, so what is learned decides how
    fast a walk is and never what it finds.
    """

    def __init__(self) -> None:
        #: by the first eight bytes of the run; emptied and filled in place
        self.by_head: dict[bytes, Run] = {}
        self._series = b""
        self._constant: frozenset[bytes] | None = None
        self._lessons = 0

    def learn(self, series: bytes, data: bytes, place: int, end: int) -> None:
        """Learn from a file whose elements lie from ``place`` to ``end``.

        The first file of a series only names it: many series have one file.
        """
        if series != self._series:
            self.by_head.clear()
            self._series, self._constant, self._lessons = series, None, 0
            return
        if self._lessons == _LESSONS:
            return
        self._lessons += 1
        elements = list(_elements(data, place, end))
        if self._constant is None:
            self._constant = frozenset(elements)
            return
        self._constant &= frozenset(elements)
        self.by_head.clear()
        for is_constant, run in itertools.groupby(elements, self._constant.__contains__):
            same = list(run)
            # A single element is walked as fast as it is compared.
            if is_constant and len(same) > 1:
                self.by_head[same[0][:8]] = b"".join(same), _held(same)


def _elements(data: bytes, place: int, end: int) -> Iterator[bytes]:
    while place < end:
        size = size_of(data, place)
        yield data[place : place + size]
        place += size


def _held(elements: list[bytes]) -> dict[bytes, bytes]:
    return {element[:4]: element[8:] for element in elements if element[:4] in _WANTED}
