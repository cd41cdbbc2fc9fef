"""The runs of elements that all files of a series share, in their heads or byte for byte."""

from __future__ import annotations

import itertools
import operator
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from pipeline.dicom.headers.wanted import KEYS

_WANTED: Final = frozenset(KEYS.values())
#: tag, VR and length
_HEAD: Final = 8
_CHARACTER_SET: Final = KEYS["SpecificCharacterSet"]
#: SeriesInstanceUID, and the bytes of the longest; what begins the next element of its group
_SERIES_TAG, _SERIES_ELEMENT, _NEXT = KEYS["SeriesInstanceUID"], _HEAD + 64, b" \0"
#: Series remembered, files learned from of each, and bytes of the longest header learned from:
#: some megabytes at most.
_SERIES, _LESSONS, _LONGEST = 64, 16, 1 << 16

#: takes bytes and a place, and returns pieces of them
_Cut: TypeAlias = Callable[[bytes, int], tuple[Any, ...]]
#: kind as ``struct`` writes it, and bytes
_Piece: TypeAlias = tuple[str, int]
_CUT, _SKIP = "s", "x"


class Run(NamedTuple):
    """Elements in a row that have the same heads in all files met so far.

    Their heads say where each begins. So where ``same`` cuts the pieces ``fixed`` out of a file,
    the elements stand there, and what ``changing`` cuts out are their values.
    """

    size: int
    same: _Cut
    fixed: tuple[bytes, ...]
    #: wanted values that are the same, by tag
    held: dict[bytes, bytes]
    changing: _Cut
    #: of the wanted values that change, in the order of ``changing``
    tags: tuple[bytes, ...]


#: by the heads that say how long their elements are: the size, and the tag where it is wanted
Sizes: TypeAlias = Mapping[bytes, tuple[int, bytes]]
#: by the first eight bytes of the run
Known: TypeAlias = dict[bytes, Run]


def series_of(data: bytes, near: int) -> tuple[bytes, int]:
    """Return what tells the series of a file from others, and where it stands (-1: nowhere).

    A guess, and a good one. It is looked for from a little before ``near`` first.
    """
    place = data.find(_SERIES_TAG, max(0, near - _SERIES_ELEMENT))
    if place < 0:
        place = data.find(_SERIES_TAG)
    element = data[place + _HEAD : place + _SERIES_ELEMENT] if place >= 0 else b""
    return element.partition(_NEXT)[0], place


@dataclass
class _Habits:
    """What changed in the series that was learned last, by tag: a guess at what will in the next.

    Series of one scanner are alike in that. So a new one is known after two files, not six.
    """

    is_known: bool = False
    #: values that changed, and heads: values whose length did
    values: frozenset[bytes] = frozenset()
    heads: frozenset[bytes] = frozenset()


class Runs:
    """The runs of the series met last.

    A run is used only where its pieces stand in a file, so what is learned decides how fast a
    walk is and never what it finds.
    """

    def __init__(self, size_of: Callable[[bytes, int], int], sizes: Sizes) -> None:
        """``size_of`` says how many bytes the element at a place takes, where no head does."""
        self._size_of, self._sizes = size_of, sizes
        self._by_series: dict[bytes, SeriesRuns] = {}
        self._habits = _Habits()

    def of(self, series: bytes) -> SeriesRuns:
        """Return the runs of a series."""
        runs = self._by_series.get(series)
        if runs is None:
            if len(self._by_series) >= _SERIES:
                del self._by_series[next(iter(self._by_series))]
            runs = SeriesRuns(self._size_of, self._sizes, self._habits)
            self._by_series[series] = runs
        return runs


class SeriesRuns:
    """Learns from the files of one series what does not change in it."""

    def __init__(self, size_of: Callable[[bytes, int], int], sizes: Sizes, habits: _Habits) -> None:
        self._size_of, self._sizes, self._habits = size_of, sizes, habits
        #: emptied and filled in place
        self.by_head: Known = {}
        self._constant: frozenset[bytes] = frozenset()
        self._heads: frozenset[bytes] = frozenset()
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
            self._guess(elements)
            if not self._habits.is_known:
                return
        else:
            self._compare(elements)
        self.by_head.clear()
        if len({element[:4] for element in elements}) < len(elements):
            return  # of an element that comes twice, the second counts: not for runs to know
        for is_run, group in itertools.groupby(elements, self._belongs):
            run = list(group)
            # A single element is walked as fast as it is compared.
            if is_run and len(run) > 1:
                self.by_head[run[0][:_HEAD]] = self._run(run)

    def _guess(self, elements: Sequence[bytes]) -> None:
        """Take for what stays the same what did so in the series before."""
        habits = self._habits
        self._constant = frozenset(one for one in elements if one[:4] not in habits.values)
        heads = (one[:_HEAD] for one in elements)
        self._heads = frozenset(head for head in heads if head[:4] not in habits.heads)

    def _compare(self, elements: Sequence[bytes]) -> None:
        """Keep of what stays the same what stands here too."""
        self._constant &= frozenset(elements)
        self._heads &= frozenset(one[:_HEAD] for one in elements)
        self._habits.values = frozenset(one[:4] for one in elements if one not in self._constant)
        self._habits.heads = frozenset(
            one[:4] for one in elements if one[:_HEAD] not in self._heads
        )
        self._habits.is_known = True

    def _elements(self, data: bytes, place: int, end: int) -> Iterator[bytes]:
        while place < end:
            size, _ = self._sizes.get(data[place : place + _HEAD]) or (
                self._size_of(data, place),
                b"",
            )
            yield data[place : place + size]
            place += size

    def _belongs(self, element: bytes) -> bool:
        if element in self._constant:
            return True
        head = element[:_HEAD]
        # the walker looks whether a character set that a run holds is the second one: not at one
        # that changes, which therefore stays outside
        return head[:4] != _CHARACTER_SET and head in self._heads and head in self._sizes

    def _run(self, elements: Sequence[bytes]) -> Run:
        held: dict[bytes, bytes] = {}
        tags: list[bytes] = []
        same: list[_Piece] = []
        changing: list[_Piece] = []
        for element in elements:
            tag, size = element[:4], len(element)
            if element in self._constant:
                same.append((_CUT, size))
                changing.append((_SKIP, size))
                if tag in _WANTED:
                    held[tag] = element[_HEAD:]
                continue
            same += (_CUT, _HEAD), (_SKIP, size - _HEAD)
            changing += (_SKIP, _HEAD), (_CUT if tag in _WANTED else _SKIP, size - _HEAD)
            if tag in _WANTED:
                tags.append(tag)
        cut = _compiled(same)
        return Run(
            size=sum(map(len, elements)),
            same=cut,
            fixed=cut(b"".join(elements), 0),
            held=held,
            changing=_compiled(changing),
            tags=tuple(tags),
        )


def _compiled(pieces: Sequence[_Piece]) -> _Cut:
    """Return what cuts pieces out at once; neighbours of one kind become one piece."""
    joined = (
        f"{sum(size for _, size in group)}{kind}"
        for kind, group in itertools.groupby(pieces, operator.itemgetter(0))
    )
    return struct.Struct("".join(joined)).unpack_from
