"""How the whole header of a file is laid out, for files that are laid out like those before."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from pipeline.dicom.headers.sizes import Declined, Short
from pipeline.dicom.headers.wanted import KEYS

WANTED: Final = frozenset(KEYS.values())
#: every wanted element absent
NOTHING: Final = dict.fromkeys(KEYS.values(), b"")
#: bytes of tag, VR and length
HEAD: Final = 8
#: where the file meta information begins: behind preamble and prefix
START: Final = 132

#: takes bytes and a place, and returns pieces of them
Cut: TypeAlias = Callable[[bytes, int], tuple[Any, ...]]


class Heads(Protocol):
    """What is remembered of the eight bytes of tag, VR and length before a value."""

    #: (size, tag) of elements whose heads say it; no tag where nobody wants them
    known: dict[bytes, tuple[int, bytes]]

    def entry(self, data: bytes, place: int, head: bytes) -> tuple[int, bytes]:
        """Return (size, tag) of the element at a place, which begins with ``head``."""
        ...


class Element(NamedTuple):
    """One element of a file that was walked."""

    #: as it stands in the file
    content: bytes
    #: its first eight, and its first four bytes
    head: bytes
    tag: bytes
    heads: Heads


class Run(NamedTuple):
    """Elements in a row that have the same heads in all files met so far.

    Their heads say where each begins. So where ``same`` cuts the pieces ``fixed`` out of a file,
    the elements stand there, and what ``changing`` cuts out are their values.
    """

    size: int
    same: Cut
    fixed: tuple[bytes, ...]
    #: wanted values that are the same, by tag
    held: dict[bytes, bytes]
    changing: Cut
    #: of the wanted values that change, in the order of ``changing``
    tags: tuple[bytes, ...]


def run_of(elements: Sequence[Element], constant: AbstractSet[bytes]) -> Run:
    """Return the run of elements, of which those in ``constant`` are the same in all files."""
    held: dict[bytes, bytes] = {}
    tags: list[bytes] = []
    same = changing = ""
    #: bytes that are the same, and bytes of no interest, behind the last piece
    equal = passed = 0
    for content, _, tag, _ in elements:
        size = len(content)
        if content in constant:
            equal += size
            passed += size
            if tag in WANTED:
                held[tag] = content[HEAD:]
            continue
        same += f"{equal + HEAD}s{size - HEAD}x"
        equal = 0
        if tag in WANTED:
            changing += f"{passed + HEAD}x{size - HEAD}s"
            passed = 0
            tags.append(tag)
        else:
            passed += size
    whole = b"".join(element.content for element in elements)
    cut = struct.Struct(f"{same}{equal}s").unpack_from
    return Run(
        size=len(whole),
        same=cut,
        fixed=cut(whole),
        held=held,
        changing=struct.Struct(changing).unpack_from,
        tags=tuple(tags),
    )


class _Step(NamedTuple):
    """An element whose length is its own in each file, and the run behind it."""

    heads: Heads
    #: of the element, where it is wanted
    tag: bytes
    run: Run


class Walked(NamedTuple):
    """What a walk found in a file."""

    #: how the file is laid out, with the values that it shares with others
    layout: Layout
    #: its own values, of ``layout.tags``
    values: Sequence[bytes]
    #: where the value of PixelData begins, and its length as stated (0xFFFFFFFF: undefined)
    offset: int
    length: int

    @property
    def found(self) -> dict[bytes, bytes]:
        """Return all raw values by tag (``NOTHING``), empty where absent."""
        return {**self.layout.held, **dict(zip(self.layout.tags, self.values, strict=True))}


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """Which elements files have from the meta information to their pixels, and what they share.

    Each is one of its own, so that who made something for a layout finds it again by it.
    """

    steps: tuple[_Step, ...]
    #: the values of wanted elements that the files share, empty where they have none
    held: Mapping[bytes, bytes]
    #: of the wanted values that change, in the order in which they stand in a file
    tags: tuple[bytes, ...]
    #: of the pixels, as stated
    length: int

    def along(self, data: bytes) -> Walked | None:
        """Walk a file that may be laid out like this.

        A walk from element to element would find the same: every step begins where the one
        before ended, and the heads that say where elements end were compared.

        Returns:
            None: it is laid out otherwise, or there is something wrong with it.

        """
        values: list[bytes] = []
        place = START
        try:
            for heads, wanted, (run_size, same, fixed, _, changing, tags) in self.steps:
                head = data[place : place + 8]
                size, tag = heads.known.get(head) or heads.entry(data, place, head)
                if tag != wanted:
                    return None
                if tag:
                    values.append(data[place + 8 : place + size])
                place += size
                if same(data, place) != fixed:
                    return None
                if tags:
                    values += changing(data, place)
                place += run_size
        except (struct.error, Declined, Short):  # the first: the bytes end before the run does
            return None
        return Walked(self, values, place, self.length)


#: of a file that shares nothing with others
OWN: Final = Layout((), NOTHING, tuple(NOTHING), 0)


def layout_of(parts: Sequence[Sequence[Element]], constant: AbstractSet[bytes]) -> Layout:
    """Return the layout of a file in parts, each of which begins with an element of any length.

    Args:
        parts: all elements from the first to the head of the pixels, which is in the last run.
        constant: elements that are the same in all files.

    """
    steps, held, tags = [], NOTHING.copy(), list[bytes]()
    for first, *rest in parts:
        tag = first.tag if first.tag in WANTED else b""
        run = run_of(rest, constant)
        steps.append(_Step(first.heads, tag, run))
        held |= run.held
        tags += (*(tag,) * bool(tag), *run.tags)
    length = int.from_bytes(parts[-1][-1].content[-4:], "little")
    return Layout(tuple(steps), held, tuple(tags), length)
