"""The groups a case belongs to, as the manifest states them: sex, band of age, site, vendor.

They change nothing in a training. How good the model is gets stated for each of them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

#: pairs of attribute and group, in the order of the attributes
Groups = tuple[tuple[str, str], ...]

_SEXES: Final[Mapping[str, str]] = {
    "f": "female",
    "female": "female",
    "m": "male",
    "male": "male",
    "o": "other",
    "other": "other",
}
#: first year of each band
_BANDS: Final = (0, 18, 40, 60, 80)
_OLDEST: Final = 150
#: years as a number or as DICOM writes ages (PS3.5 6.2, AS)
_AGE: Final = re.compile(r"(\d{1,3})([DWMY]?)")
_YEARS: Final[Mapping[str, float]] = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1, "": 1}
_LONGEST_NAME: Final = 64


def read(fields: Mapping[str, Any]) -> tuple[Groups, dict[str, str]]:
    """Return the groups of a row, and a sentence for each column that cannot be read.

    Args:
        fields: of the row, by column; what is missing or empty is not stated.

    """
    groups, faults = [], {}
    for column, (attribute, group_of) in COLUMNS.items():
        stated = fields.get(column)
        word = "" if stated is None else str(stated).strip()
        if not word:
            continue
        try:
            groups.append((attribute, group_of(word)))
        except ValueError as error:
            faults[column] = str(error)
    return tuple(sorted(dict(groups).items())), faults


def sex(word: str) -> str:
    """Return female, male or other.

    Raises:
        ValueError: it is none of them, nor a first letter.

    """
    if word.lower() not in _SEXES:
        raise ValueError("it is none of female, male, other")
    return _SEXES[word.lower()]


def years(word: str) -> float:
    """Return an age in years.

    Raises:
        ValueError: it is neither a number of years nor written as DICOM writes ages.

    """
    found = _AGE.fullmatch(word.upper())
    age = float(found[1]) * _YEARS[found[2]] if found else -1.0
    if not 0 <= age <= _OLDEST:
        raise ValueError("it is no age: years, or as DICOM writes it (045Y, 008M)")
    return age


def _band(word: str) -> str:
    age = years(word)
    place = max(index for index, first in enumerate(_BANDS) if age >= first)
    first = _BANDS[place]
    return f"{first}-{_BANDS[place + 1] - 1}" if place + 1 < len(_BANDS) else f"{first}+"


def _name(word: str) -> str:
    if len(word) > _LONGEST_NAME or not word.isprintable():
        raise ValueError(f"it is longer than {_LONGEST_NAME} letters or not printable")
    return word


#: column -> attribute and what makes a group of a word
COLUMNS: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "sex": ("sex", sex),
    "age": ("age", _band),
    "site": ("site", _name),
    "institution": ("site", _name),
    "vendor": ("vendor", _name),
    "manufacturer": ("vendor", _name),
}
