"""Learn from the files of a series what all of them share, in heads or byte for byte."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from pipeline.dicom.headers.layouts import HEAD, Element, Heads, Layout, Run, layout_of, run_of
from pipeline.dicom.headers.wanted import KEYS

_CHARACTER_SET: Final = KEYS["SpecificCharacterSet"]
_SYNTAX: Final = KEYS["TransferSyntaxUID"]
#: SeriesInstanceUID, and the bytes of the longest; what begins the next element of its group
_SERIES_TAG, _SERIES_ELEMENT, _NEXT = KEYS["SeriesInstanceUID"], HEAD + 64, b" \0"
#: Series remembered, and bytes of the longest header learned from: some megabytes at most.
_SERIES, _LONGEST = 64, 1 << 16
#: Files of a series that taught nothing before no more is learned. Each of the others takes at
#: least one element from what is the same.
_IN_VAIN: Final = 16

#: by the first eight bytes of the run
Known: TypeAlias = dict[bytes, Run]


class Span(NamedTuple):
    """Where elements lie whose heads are of one kind."""

    heads: Heads
    place: int
    end: int


def series_of(data: bytes, near: int) -> tuple[bytes, int]:
    """Return what tells the series of a file from others, and where it stands (-1: nowhere).

    A guess, and a good one. It is looked for from a little before ``near`` first.
    """
    place = data.find(_SERIES_TAG, max(0, near - _SERIES_ELEMENT))
    if place < 0:
        place = data.find(_SERIES_TAG)
    element = data[place + HEAD : place + _SERIES_ELEMENT] if place >= 0 else b""
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
    """What was learned of the series met last.

    It is used only where its pieces stand in a file, so what is learned decides how fast a walk
    is and never what it finds.
    """

    def __init__(self) -> None:
        self._by_series: dict[bytes, SeriesRuns] = {}
        self._habits = _Habits()

    def of(self, series: bytes) -> SeriesRuns:
        """Return what was learned of a series."""
        runs = self._by_series.get(series)
        if runs is None:
            if len(self._by_series) >= _SERIES:
                del self._by_series[next(iter(self._by_series))]
            runs = self._by_series[series] = SeriesRuns(self._habits)
        return runs


class SeriesRuns:
    """Learns from the files of one series what does not change in it."""

    def __init__(self, habits: _Habits) -> None:
        self._habits = habits
        #: of the files as a whole; None where it is not known, or they have none in common
        self.layout: Layout | None = None
        #: runs behind the meta information, for files that are laid out otherwise
        self.by_head: Known = {}
        self._constant: frozenset[bytes] = frozenset()
        self._heads: frozenset[bytes] = frozenset()
        self._files = self._in_vain = 0

    def learn(self, data: bytes, meta: Span, rest: Span, offset: int) -> None:
        """Learn from a file.

        Nothing of the first file: many series have one file.

        Args:
            data: the file from its start, as far as its pixels or further.
            meta: where its meta information lies.
            rest: where the elements between that and its pixels lie.
            offset: of its pixels, behind their head.

        """
        self._files += 1
        if self._files == 1 or self._in_vain > _IN_VAIN or offset > _LONGEST:
            return
        own = list(_elements(data, rest))
        elements = [*_elements(data, meta), *own, Element(data[rest.end : offset], rest.heads)]
        if self._files == 2:
            self._guess(elements)
            if not self._habits.is_known:
                return
        else:
            self._compare(elements)
        self.layout, self.by_head = None, {}
        if len({element.tag for element in elements}) < len(elements):
            return  # of an element that comes twice, the second counts: not for runs to know
        for is_run, group in itertools.groupby(own, self._belongs):
            run = list(group)
            # A single element is walked as fast as it is compared.
            if is_run and len(run) > 1:
                self.by_head[run[0].head] = run_of(run, self._constant)
        self.layout = self._layout(elements)

    def _guess(self, elements: Sequence[Element]) -> None:
        """Take for what stays the same what did so in the series before."""
        habits = self._habits
        self._constant = frozenset(one.content for one in elements if one.tag not in habits.values)
        self._heads = frozenset(one.head for one in elements if one.tag not in habits.heads)

    def _compare(self, elements: Sequence[Element]) -> None:
        """Keep of what stays the same what stands here too."""
        before = len(self._constant), len(self._heads)
        self._constant &= frozenset(one.content for one in elements)
        self._heads &= frozenset(one.head for one in elements)
        self._in_vain += before == (len(self._constant), len(self._heads))
        habits = self._habits
        habits.values = frozenset(one.tag for one in elements if one.content not in self._constant)
        habits.heads = frozenset(one.tag for one in elements if one.head not in self._heads)
        habits.is_known = True

    def _belongs(self, element: Element) -> bool:
        """Say whether an element is part of a run: it is the same, or as long, in all files."""
        if element.content in self._constant:
            return True
        # the walker looks whether a character set that a run holds is the second one: not at one
        # that changes, which therefore stays outside
        is_as_long = element.head in self._heads and element.head in element.heads.known
        return is_as_long and element.tag != _CHARACTER_SET

    def _layout(self, elements: Sequence[Element]) -> Layout | None:
        """Return the layout; None where how to walk, or where the pixels are, changes."""
        pixels = elements[-1].content
        syntax = next((one.content for one in elements if one.tag == _SYNTAX), b"")
        if not {pixels, syntax} <= self._constant:
            return None
        parts: list[list[Element]] = []
        for element in elements:
            if not parts or not self._belongs(element):
                parts.append([])
            parts[-1].append(element)
        return layout_of(parts, self._constant)


def _elements(data: bytes, span: Span) -> Iterator[Element]:
    heads, place, end = span
    while place < end:
        size, _ = heads.entry(data, place, data[place : place + HEAD])
        yield Element(data[place : place + size], heads)
        place += size
