"""Dates moved by whole days: DA and DT (PS3.5 6.2). Times of day stay as they are."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

_DATE = re.compile(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)")
_DATE_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d{2}|\d{4}|\d{6}(?:\.\d{1,6})?)?([+-]\d{4})?")
_TIME = re.compile(r"\d\d(:?\d\d(:?\d\d(\.\d{1,6})?)?)?")
_AGE = re.compile(r"\d{3}[DWMY]")

DUMMY_DATE: Final = "19000101"
DUMMY_TIME: Final = "000000"
DUMMY_DATE_TIME: Final = "19000101000000"


def is_date(text: str) -> bool:
    """Say whether a text is a date, in today's form or that of before 1993."""
    return shifted_date(text, 0) is not None


def is_time(text: str) -> bool:
    """Say whether a text is a time of day."""
    return _TIME.fullmatch(text.strip()) is not None


def is_date_time(text: str) -> bool:
    """Say whether a text is a date and time."""
    return shifted_date_time(text, 0) is not None


def is_age(text: str) -> bool:
    """Say whether a text is an age, 001D to 999Y."""
    return _AGE.fullmatch(text.strip()) is not None


def shifted_date(text: str, days: int) -> str | None:
    """Return a date moved by ``days`` as YYYYMMDD; None where it is none or leaves the calendar."""
    found = _DATE.fullmatch(text.strip())
    return None if found is None else _moved(found[1], found[2], found[3], days)


def shifted_date_time(text: str, days: int) -> str | None:
    """Return a date and time whose date is moved; time, fraction and zone stay.

    Of one that states no day, the first day of its month or year is moved and as much is stated
    as before.
    """
    found = _DATE_TIME.fullmatch(text.strip())
    if found is None or (found[4] and not found[3]):
        return None
    moved = _moved(found[1], found[2] or "01", found[3] or "01", days)
    if moved is None:
        return None
    stated = 8 if found[3] else 6 if found[2] else 4
    return moved[:stated] + (found[4] or "") + (found[5] or "")


def _moved(year: str, month: str, day: str, days: int) -> str | None:
    try:
        date = dt.date(int(year), int(month), int(day)) + dt.timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{date.year:04d}{date.month:02d}{date.day:02d}"
