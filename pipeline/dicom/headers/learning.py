"""Learn from the files of a series what all of them share, in heads or byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.dicom.headers.layouts import HEAD, Element, Heads, Layout, layout_of
from pipeline.dicom.headers.wanted import KEYS

_SYNTAX: Final = KEYS["TransferSyntaxUID"]
#: SeriesInstanceUID, and the bytes of the longest; what begins the next element of its group
_TAG, _LONGEST_ELEMENT, _NEXT = KEYS["SeriesInstanceUID"], HEAD + 64, b" \0"
#: Series remembered, and bytes of the longest header learned from: some tens of megabytes at most.
_SERIES, _LONGEST = 64, 1 << 16
#: Kinds of files in a series: some elements are not in all of them.
_KINDS: Final = 4
#: Files of a series that taught nothing before no more is learned. Each of the others takes at
#: least one element from what is the same.
_IN_VAIN: Final = 16


class Span(NamedTuple):
    """Where elements lie whose heads are of one kind."""

    heads: Heads
    place: int
    end: int


@dataclass
class _Habits:
    """What changed in the series that was learned last, by tag: a guess at what will in the next.

    Series of one scanner are alike in that. So a new one is known after two files, not six.
    """

    is_known: bool = False
    #: values that changed, and heads: values whose length did
    values: set[bytes] = field(default_factory=set)
    heads: set[bytes] = field(default_factory=set)


class Learned:
    """What was learned of the series met last.

    It is used only where its pieces stand in a file, so what is learned decides how fast a walk
    is and never what it finds.
    """

    def __init__(self) -> None:
        #: by the element that states the series
        self._by_series: dict[bytes, SeriesLayouts] = {}
        self._habits = _Habits()
        #: of the last file, and where it stood
        self._element, self._place = b"", 0
        self._last = SeriesLayouts(self._habits)

    def of(self, data: bytes) -> SeriesLayouts:
        """Return what was learned of the series of a file; which one that is, is a good guess."""
        if not self._element or not data.startswith(self._element, self._place):
            self._find(data)
        return self._last

    def _find(self, data: bytes) -> None:
        # Files of one kind state it at about the same place.
        place = data.find(_TAG, max(0, self._place - _LONGEST_ELEMENT))
        if place < 0:
            place = data.find(_TAG)
        self._element, self._place = b"", max(0, place)
        if place >= 0:
            uid, _, _ = data[place + HEAD : place + _LONGEST_ELEMENT].partition(_NEXT)
            self._element = data[place : place + HEAD] + uid
        layouts = self._by_series.get(self._element)
        if layouts is None:
            if len(self._by_series) >= _SERIES:
                del self._by_series[next(iter(self._by_series))]
            layouts = self._by_series[self._element] = SeriesLayouts(self._habits)
        self._last = layouts


class SeriesLayouts:
    """Learns how the files of one series are laid out."""

    def __init__(self, habits: _Habits) -> None:
        self._habits = habits
        #: of the kinds of files there are; none where they have too little in common
        self.layouts: list[Layout] = []
        #: by the tags of their elements, in order
        self._kinds: dict[tuple[bytes, ...], _Kind] = {}
        self._is_new = True
        self._in_vain = 0

    def learn(self, data: bytes, meta: Span, rest: Span, offset: int) -> None:
        """Learn from a file.

        Nothing of the first file: many series have one file.

        Args:
            data: the file from its start, as far as its pixels or further.
            meta: where its meta information lies.
            rest: where the elements between that and its pixels lie.
            offset: of its pixels, behind their head.

        """
        if self._is_new or self._in_vain > _IN_VAIN or offset > _LONGEST:
            self._is_new = False
            return
        elements = [*_elements(data, meta), *_elements(data, rest)]
        head = data[rest.end : rest.end + HEAD]
        elements.append(Element(data[rest.end : offset], head, head[:4], rest.heads))
        tags = tuple(element.tag for element in elements)
        kind = self._kinds.get(tags)
        if kind is not None:
            self._in_vain += not kind.compare(elements, self._habits)
        elif len(set(tags)) == len(tags) and len(self._kinds) < _KINDS:
            self._kinds[tags] = _Kind(elements, self._habits)
        else:  # of an element that comes twice, the second counts: not for layouts to know
            self._in_vain += 1
        layouts = (kind.layout for kind in self._kinds.values())
        self.layouts = [layout for layout in layouts if layout is not None]


class _Kind:
    """Files of one series that have the same elements."""

    def __init__(self, elements: Sequence[Element], habits: _Habits) -> None:
        """Take for what stays the same what did so in the series before."""
        self._constant = {one.content for one in elements if one.tag not in habits.values}
        self._heads = {one.head for one in elements if one.tag not in habits.heads}
        #: None where it is not known, or they have none in common
        self.layout = self._layout(elements) if habits.is_known else None

    def compare(self, elements: Sequence[Element], habits: _Habits) -> bool:
        """Keep of what stays the same what stands here too; say whether that is less."""
        before = len(self._constant), len(self._heads)
        self._constant.intersection_update([one.content for one in elements])
        self._heads.intersection_update([one.head for one in elements])
        habits.values = {one.tag for one in elements if one.content not in self._constant}
        habits.heads = {one.tag for one in elements if one.head not in self._heads}
        habits.is_known = True
        self.layout = self._layout(elements)
        return before != (len(self._constant), len(self._heads))

    def _belongs(self, element: Element) -> bool:
        """Say whether an element is part of a run: it is the same, or as long, in all files."""
        if element.content in self._constant:
            return True
        # Of an element with a long length, or others nested in it, the head does not say its size.
        return element.head in self._heads and element.head in element.heads.known

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


def _elements(data: bytes, span: Span) -> list[Element]:
    heads, place, end = span
    elements = []
    while place < end:
        head = data[place : place + HEAD]
        size, _ = heads.known.get(head) or heads.entry(data, place, head)
        elements.append(Element(data[place : place + size], head, head[:4], heads))
        place += size
    return elements
