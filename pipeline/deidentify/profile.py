"""The profile of PS3.15 Annex E: what becomes of each attribute, under which options.

``profile.csv`` beside this file is the table. Its rows are those of Table E.1-1 in the edition
2024e, and an allow-list of our own: attributes of the image, segmentation, report and
radiotherapy IODs (PS3.3, same edition) that describe pixels, geometry, physics and coded
concepts. What the table does not name is removed; so is every private attribute that
``safe_private`` does not name. Columns: tag, keyword, action of the basic profile, the strictest
type any of these IODs gives it (1, 2 or 3), and the options that change the action.
"""

from __future__ import annotations

import csv
import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

EDITION: Final = "2024e"


class Option(enum.StrEnum):
    """The options of PS3.15 E.3 that are offered."""

    CLEAN_PIXELS = "clean-pixels"
    CLEAN_GRAPHICS = "clean-graphics"
    CLEAN_STRUCTURED_CONTENT = "clean-structured-content"
    CLEAN_DESCRIPTORS = "clean-descriptors"
    FULL_DATES = "full-dates"
    MODIFIED_DATES = "modified-dates"
    PATIENT_CHARACTERISTICS = "patient-characteristics"
    DEVICE_IDENTITY = "device-identity"
    UIDS = "uids"
    SAFE_PRIVATE = "safe-private"
    INSTITUTION_IDENTITY = "institution-identity"


#: CID 7050 of PS3.16: what the de-identified object says was done to it.
BASIC_PROFILE: Final = ("113100", "Basic Application Confidentiality Profile")
METHOD_CODES: Final[Mapping[Option, tuple[str, str]]] = {
    Option.CLEAN_PIXELS: ("113101", "Clean Pixel Data Option"),
    Option.CLEAN_GRAPHICS: ("113103", "Clean Graphics Option"),
    Option.CLEAN_STRUCTURED_CONTENT: ("113104", "Clean Structured Content Option"),
    Option.CLEAN_DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Option.FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Option.MODIFIED_DATES: (
        "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
    ),
    Option.PATIENT_CHARACTERISTICS: ("113108", "Retain Patient Characteristics Option"),
    Option.DEVICE_IDENTITY: ("113109", "Retain Device Identity Option"),
    Option.UIDS: ("113110", "Retain UIDs Option"),
    Option.SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
    Option.INSTITUTION_IDENTITY: ("113112", "Retain Institution Identity Option"),
}

#: letter of an option in the table
_LETTERS: Final = {
    "d": Option.CLEAN_DESCRIPTORS,
    "s": Option.CLEAN_STRUCTURED_CONTENT,
    "f": Option.FULL_DATES,
    "m": Option.MODIFIED_DATES,
    "p": Option.PATIENT_CHARACTERISTICS,
    "e": Option.DEVICE_IDENTITY,
    "i": Option.INSTITUTION_IDENTITY,
    "u": Option.UIDS,
}
_DATE_LETTERS: Final = "fm"


class Treatment(enum.Enum):
    """What is done to one attribute. A sequence that is kept or cleaned is entered."""

    KEEP = enum.auto()
    REMOVE = enum.auto()
    EMPTY = enum.auto()
    DUMMY = enum.auto()
    NEW_UID = enum.auto()
    SHIFT = enum.auto()
    CLEAN = enum.auto()


_ACTIONS: Final = {
    "K": Treatment.KEEP,
    "X": Treatment.REMOVE,
    "Z": Treatment.EMPTY,
    "D": Treatment.DUMMY,
    "U": Treatment.NEW_UID,
    "U*": Treatment.NEW_UID,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What becomes of an attribute, and what it becomes where its value cannot stay."""

    treatment: Treatment
    #: the strictest type that an IOD gives the attribute: 1, 2 or 3
    type: int


class OptionsContradict(ValueError):
    """Two options that exclude each other."""


@functools.lru_cache(maxsize=16)
def rules(options: frozenset[Option]) -> Mapping[int, Rule]:
    """Return the rule of every attribute that the table names, by tag.

    Raises:
        OptionsContradict: full dates and modified dates were both asked for.

    """
    if {Option.FULL_DATES, Option.MODIFIED_DATES} <= options:
        raise OptionsContradict("full-dates and modified-dates exclude each other")
    table = resources.files(__package__).joinpath("profile.csv")
    with table.open(encoding="ascii") as lines:
        return {int(row["tag"], 16): _rule(row, options) for row in csv.DictReader(lines)}


def _rule(row: Mapping[str, str], options: frozenset[Option]) -> Rule:
    strictness = int(row["type"])
    wishes = {
        wish[0]: wish[1] for wish in row["options"].split() if _LETTERS.get(wish[0]) in options
    }
    # Of a date only the options on dates speak: the day a detector was calibrated is kept
    # where dates are, not wherever the identity of devices is.
    if any(letter in row["options"] for letter in ("fK", "mC")):
        wishes = {letter: wish for letter, wish in wishes.items() if letter in _DATE_LETTERS}
    if "K" in wishes.values():
        return Rule(treatment=Treatment.KEEP, type=strictness)
    if "m" in wishes:
        return Rule(treatment=Treatment.SHIFT, type=strictness)
    if wishes:
        return Rule(treatment=Treatment.CLEAN, type=strictness)
    return Rule(treatment=_basic(row["basic"].split("/"), strictness), type=strictness)


def _basic(actions: list[str], strictness: int) -> Treatment:
    """Choose among the actions that the standard leaves open: the weakest that stays valid."""
    order = {1: ("U*", "D", "Z", "X"), 2: ("U*", "Z", "D", "X"), 3: ("X", "Z", "D")}[strictness]
    chosen = actions[0] if len(actions) == 1 else next(a for a in order if a in actions)
    return _ACTIONS[chosen]
