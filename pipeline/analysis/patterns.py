r"""Regular expressions that take linear time, whatever a document asks for.

A document comes from anywhere, and the expressions of Python go back and try again: ten ``.*`` in
a row are enough to stop a worker. This one keeps the set of places where it may stand (K. Thompson,
"Regular expression search algorithm", CACM 11(6), 1968) and reads every character once. What cannot
be done that way, references to groups and looking around, is no part of its language.

The language: literals, ``.``, classes ``[a-z]`` and ``[^...]``, the escapes ``\d \w \s`` and
their capitals, ``\b``, ``^``, ``$``, groups ``(...)`` and ``(?:...)``, ``|``, ``* + ?`` and
``{m,n}``, lazy forms included: they match the same texts. Letters are compared without regard to
case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

LONGEST_PATTERN: Final = 200
#: steps of a compiled pattern, after counted repeats are written out
MOST_STEPS: Final = 2000
_MOST_REPEATS: Final = 64
_DEEPEST: Final = 20

#: says whether one folded character fits
Fits: TypeAlias = Callable[[str], bool]


class PatternInvalid(ValueError):
    """The text is no pattern of the language. The message says why."""


@dataclass(frozen=True)
class _One:
    """Read one character that fits."""

    fits: Fits


@dataclass(frozen=True)
class _At:
    """Go on where the place is a start, an end or the edge of a word."""

    what: str


@dataclass(frozen=True)
class _Fork:
    """Go on at several places at once, given as distances."""

    ways: tuple[int, ...]


_Step: TypeAlias = _One | _At | _Fork
_Program: TypeAlias = list[_Step]


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern."""

    program: tuple[_Step, ...]

    def is_found_in(self, text: str) -> bool:
        """Say whether any part of ``text`` matches."""
        folded = text.lower()
        places: set[int] = set()
        for index in range(len(folded) + 1):
            places = self._reach({*places, 0}, folded, index)
            if len(self.program) in places:
                return True
            if index < len(folded):
                places = self._read(places, folded[index])
        return False

    def _reach(self, places: set[int], text: str, index: int) -> set[int]:
        """Return every place that can be stood at without reading a character."""
        reached, waiting = set[int](), list(places)
        while waiting:
            place = waiting.pop()
            if place in reached:
                continue
            reached.add(place)
            match self.program[place] if place < len(self.program) else None:
                case _Fork(ways):
                    waiting += [place + way for way in ways]
                case _At(what) if _is_at(what, text, index):
                    waiting.append(place + 1)
        return reached

    def _read(self, places: set[int], character: str) -> set[int]:
        return {
            place + 1
            for place in places
            if place < len(self.program)
            and isinstance(step := self.program[place], _One)
            and step.fits(character)
        }


@lru_cache(1024)
def compiled(text: str) -> Pattern:
    """Compile a pattern.

    Raises:
        PatternInvalid: it is too long, or not in the language.

    """
    if len(text) > LONGEST_PATTERN:
        raise PatternInvalid(f"a pattern has at most {LONGEST_PATTERN} characters")
    parser = _Parser(text)
    program = parser.alternatives(depth=0)
    if parser.rest:
        raise PatternInvalid(f"there is no bracket for ')' at {parser.place + 1}")
    return Pattern(tuple(program))


class _Parser:
    """Reads a pattern from left to right and writes its program."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.place = 0

    @property
    def rest(self) -> str:
        return self._text[self.place :]

    def alternatives(self, *, depth: int) -> _Program:
        """Read up to the end of the pattern or of the group."""
        if depth > _DEEPEST:
            raise PatternInvalid("groups are nested too deeply")
        branches = [self._sequence(depth)]
        while self._take("|"):
            branches.append(self._sequence(depth))
        program = branches.pop()
        while branches:
            branch = branches.pop()
            skip = _Fork((len(program) + 1,))
            program = [_Fork((1, len(branch) + 2)), *branch, skip, *program]
        return program

    def _sequence(self, depth: int) -> _Program:
        program: _Program = []
        while self.rest and self.rest[0] not in "|)":
            program += self._repeated(self._piece(depth))
            if len(program) > MOST_STEPS:
                raise PatternInvalid("the pattern is too large when its repeats are written out")
        return program

    def _piece(self, depth: int) -> _Program:
        character = self._next()
        match character:
            case "(":
                return self._group(depth)
            case "[":
                return [_One(self._class())]
            case ".":
                return [_One(lambda _: True)]
            case "^" | "$":
                return [_At(character)]
            case "\\":
                return [self._escaped()]
            case "*" | "+" | "?" | "{":
                raise PatternInvalid(f"'{character}' at {self.place} repeats nothing")
            case _:
                return [_One(_is(character))]

    def _group(self, depth: int) -> _Program:
        if self._take("?") and not self._take(":"):
            raise PatternInvalid("of the groups with '(?' there is only '(?:'")
        program = self.alternatives(depth=depth + 1)
        if not self._take(")"):
            raise PatternInvalid("a group is not closed")
        return program

    def _repeated(self, piece: _Program) -> _Program:
        size = len(piece)
        if self._take("*"):
            piece = [_Fork((1, size + 2)), *piece, _Fork((-size - 1,))]
        elif self._take("+"):
            piece = [*piece, _Fork((-size, 1))]
        elif self._take("?"):
            piece = [_Fork((1, size + 1)), *piece]
        elif self._take("{"):
            piece = _written_out(piece, *self._counts())
        else:
            return piece
        self._take("?")  # a lazy form matches the same texts
        if self.rest[:1] in ("*", "+", "?", "{"):
            raise PatternInvalid(f"what is repeated at {self.place + 1} is repeated already")
        return piece

    def _counts(self) -> tuple[int, int | None]:
        inside, closed, _ = self.rest.partition("}")
        least, comma, most = inside.partition(",")
        is_number = all(part.isascii() and part.isdigit() for part in (least, most or "0"))
        if not closed or not is_number:
            raise PatternInvalid("repeats are counted as {2}, {2,} or {2,4}")
        self.place += len(inside) + 1
        counts = int(least), (int(most) if most else None) if comma else int(least)
        if max(counts[0], counts[1] or 0) > _MOST_REPEATS or counts[0] > (counts[1] or counts[0]):
            raise PatternInvalid(f"repeats are counted upwards, to {_MOST_REPEATS} at most")
        return counts

    def _escaped(self) -> _Step:
        character = self._next()
        if character in "bB":
            return _At(character)
        return _One(_escape(character))

    def _class(self) -> Fits:
        is_negated = self._take("^")
        found: list[Fits] = []
        while not self.rest.startswith("]") or not found:
            found.append(self._range())
        self._take("]")
        return _none_of(found) if is_negated else _any_of(found)

    def _range(self) -> Fits:
        first = self._next()
        if first == "\\":
            first = self._next()
            if first in "dDwWsS":
                return _escape(first)
        if not (self.rest.startswith("-") and not self.rest.startswith("-]")):
            return _is(first)
        self._take("-")
        last = self._next()
        last = self._next() if last == "\\" else last
        if last < first:
            raise PatternInvalid(f"the range {first}-{last} runs downwards")
        return _between(first, last)

    def _take(self, character: str) -> bool:
        is_next = self.rest.startswith(character)
        self.place += is_next
        return is_next

    def _next(self) -> str:
        if not self.rest:
            raise PatternInvalid("the pattern breaks off")
        self.place += 1
        return self._text[self.place - 1]


def _written_out(piece: _Program, least: int, most: int | None) -> _Program:
    size = len(piece)
    if most is None:
        return [*piece * least, _Fork((1, size + 2)), *piece, _Fork((-size - 1,))]
    program = piece * least
    for _ in range(most - least):
        program = [*program, _Fork((1, size + 1)), *piece]
    return program


def _is_at(what: str, text: str, index: int) -> bool:
    if what in "^$":
        return index == (0 if what == "^" else len(text))
    before, after = text[:index][-1:], text[index:][:1]
    return (_is_word(before) != _is_word(after)) is (what == "b")


def _escape(character: str) -> Fits:
    match character:
        case "d" | "D":
            fits: Fits = str.isdigit
        case "w" | "W":
            fits = _is_word
        case "s" | "S":
            fits = str.isspace
        case _ if character.isalnum():
            raise PatternInvalid(f"\\{character} is no part of the language")
        case _:
            return _is(character)
    return _none_of([fits]) if character.isupper() else fits


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _is(wanted: str) -> Fits:
    folded = wanted.lower()
    return lambda character: character == folded


def _between(first: str, last: str) -> Fits:
    return lambda one: first <= one <= last or first <= one.upper() <= last


def _any_of(every: Sequence[Fits]) -> Fits:
    return lambda character: any(fits(character) for fits in every)


def _none_of(every: Sequence[Fits]) -> Fits:
    return lambda character: not any(fits(character) for fits in every)
