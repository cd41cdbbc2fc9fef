"""The runs of elements that all files of a series share, byte for byte."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from pipeline.dicom.headers.wanted import KEYS

#: the bytes of the run; the wanted values among them, by tag
Run: TypeAlias = tuple[bytes, dict[bytes, bytes]]

_WANTED: Final = frozenset(KEYS.values())
#: SeriesInstanceUID, and how many bytes of it tell series apart; what follows in a shorter one is
#: the same within a series, too
_SERIES_TAG, _SERIES_ELEMENT = KEYS["SeriesInstanceUID"], 60
#: Series remembered, files learned from of each, and bytes of the longest header learned from:
#: some megabytes at most.
_SERIES, _LESSONS, _LONGEST = 64, 16, 1 << 16


class Runs:
    """The runs of the series met last.

    A run is used only where the very same bytes stand in a file, so what is learned decides how
    fast a walk is and never what it finds.
    """

    def __init__(self, size_of: Callable[[bytes, int], int]) -> None:
        """``size_of`` says how many bytes the element at a place takes."""
        self._size_of = size_of
        self._by_series: dict[bytes, SeriesRuns] = {}

    def of(self, data: bytes) -> SeriesRuns:
        """Return the runs of the series that a file seems to be of: a guess, and a good one."""
        place = data.find(_SERIES_TAG)
        series = data[place : place + _SERIES_ELEMENT] if place >= 0 else b""
        runs = self._by_series.get(series)
        if runs is None:
            if len(self._by_series) >= _SERIES:
                del self._by_series[next(iter(self._by_series))]
            runs = self._by_series[series] = SeriesRuns(self._size_of)
        return runs


class SeriesRuns:
    """Learns from the files of one series which elements do not change in it."""

    def __init__(self, size_of: Callable[[bytes, int], int]) -> None:
        self._size_of = size_of
        #: by the first eight bytes of the run; emptied and filled in place
        self.by_head: dict[bytes, Run] = {}
        self._constant: frozenset[bytes] = frozenset()
        self._files = 0

    def learn(self, data: bytes, place: int, end: int) -> None:
        """Learn from a file whose elements lie from ``place`` to ``end``.

        Nothing of the first file: many series have one file.
        """
        self._files += 1
        if self._files == 1 or self._files > _LESSONS or end - place > _LONGEST:
            return
        elements = list(self._elements(data, place, end))
        if self._files == 2:
            self._constant = frozenset(elements)
            return
        self._constant &= frozenset(elements)
        self.by_head.clear()
        for is_constant, run in itertools.groupby(elements, self._constant.__contains__):
            same = list(run)
            # A single element is walked as fast as it is compared.
            if is_constant and len(same) > 1:
                self.by_head[same[0][:8]] = b"".join(same), _held(same)

    def _elements(self, data: bytes, place: int, end: int) -> Iterator[bytes]:
        while place < end:
            size = self._size_of(data, place)
            yield data[place : place + size]
            place += size


def _held(elements: list[bytes]) -> dict[bytes, bytes]:
    return {element[:4]: element[8:] for element in elements if element[:4] in _WANTED}
