"""When a PET tracer was given, and to what time the values are decay-corrected."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import number_of, text_of
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_GE: Final = (0x0009, "GEMS_PETD_01", 0x0D)
_DATE: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME: Final = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?")
_OFFSET: Final = re.compile(r"[+-]\d{4}$")
#: Starts that the slices of one series imply may differ by their rounding.
_SPREAD: Final = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """The times that one slice states."""

    series: datetime
    acquired: datetime
    #: GE's own element, kept where the series time was rewritten
    ge_scan: datetime | None
    reference_s: float | None
    duration_s: float | None

    @classmethod
    def of(cls, head: Dataset) -> Self:
        """Read them from a header.

        Raises:
            StudyRejected: a date or time is missing or is none.

        """
        reference, duration = (
            number_of(head, keyword) for keyword in ("FrameReferenceTime", "ActualFrameDuration")
        )
        return cls(
            series=_date_time(head, "Series"),
            acquired=_date_time(head, "Acquisition"),
            ge_scan=_ge_scan(head),
            reference_s=_seconds(reference),
            duration_s=_seconds(duration),
        )


def scan_start(slices: Sequence[Acquisition], half_life_s: float) -> datetime:
    """Return the time that DecayCorrection START corrects to.

    That is the series time, unless a later processing has rewritten it: then it is later than an
    acquisition, and GE's element or the frame reference time tells instead.

    Raises:
        StudyRejected: nothing tells it, or the slices tell different ones.

    """
    earliest = min(one.acquired for one in slices)
    if all(one.series <= earliest for one in slices):
        starts = [one.series for one in slices]
    elif all(one.ge_scan is not None for one in slices):
        starts = [one.ge_scan or one.series for one in slices]
    else:
        starts = [_back_from(one, half_life_s) for one in slices]
    if max(starts) - min(starts) > _SPREAD:
        raise _unavailable("its slices imply different starts of the scan")
    return min(starts)


def injected_at(item: Dataset, head: Dataset, start: datetime) -> datetime:
    """Return when the tracer was given.

    Args:
        item: of the RadiopharmaceuticalInformationSequence.
        head: the header it is in.
        start: of the scan; a time without a date is the last one before it.

    Raises:
        StudyRejected: the header states no time.

    """
    full = text_of(item, "RadiopharmaceuticalStartDateTime")
    if len(_OFFSET.sub("", full)) >= 12:
        return _local(full, text_of(head, "TimezoneOffsetFromUTC"))
    text = text_of(item, "RadiopharmaceuticalStartTime")
    if not text:
        raise _unavailable("it states no RadiopharmaceuticalStartTime")
    given = _at(start.strftime("%Y%m%d"), text, "RadiopharmaceuticalStartTime")
    return given if given <= start else given - timedelta(days=1)


def _back_from(one: Acquisition, half_life_s: float) -> datetime:
    """Go back from an acquisition by the frame reference time (PS3.3 C.8.9.4.1.5).

    That time is of the moment in the frame at which the count rate is its average.
    """
    if one.reference_s is None or one.duration_s is None or one.duration_s <= 0:
        sentence = "its SeriesTime is later than its AcquisitionTime, and it lacks"
        raise _unavailable(f"{sentence} FrameReferenceTime or ActualFrameDuration")
    decay = math.log(2) / half_life_s
    lost = decay * one.duration_s
    average = math.log(lost / -math.expm1(-lost)) / decay
    return one.acquired + timedelta(seconds=average - one.reference_s)


def _date_time(head: Dataset, kind: str) -> datetime:
    date, time = text_of(head, f"{kind}Date"), text_of(head, f"{kind}Time")
    if not date or not time:
        raise _unavailable(f"it states no {kind}Date or no {kind}Time")
    return _at(date, time, f"{kind}Time")


def _ge_scan(head: Dataset) -> datetime | None:
    group, creator, element = _GE
    try:
        text = str(head.private_block(group, creator)[element].value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return _at(text[:8], text[8:], "private scan time") if len(text) >= 12 else None


def _local(text: str, zone: str) -> datetime:
    """Return a date and time in the zone of the header's other times."""
    found = _OFFSET.search(text)
    bare = _OFFSET.sub("", text)
    moment = _at(bare[:8], bare[8:], "RadiopharmaceuticalStartDateTime")
    if found is not None and _OFFSET.fullmatch(zone):
        moment += _zone(zone) - _zone(found.group())
    return moment


def _zone(text: str) -> timedelta:
    sign = -1 if text[0] == "-" else 1
    return sign * timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))


def _at(date: str, time: str, keyword: str) -> datetime:
    days, clock = _DATE.fullmatch(date), _TIME.fullmatch(time.strip())
    if days is None or clock is None:
        raise _unavailable(f"its {keyword} is no time")
    hours, minutes, seconds = (int(part or 0) for part in clock.groups()[:3])
    try:
        day = datetime(*(int(part) for part in days.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 - local times of one scanner, only their differences matter
    except ValueError:
        raise _unavailable(f"its {keyword} is no date") from None
    fraction = float(clock.group(4) or 0)
    return day + timedelta(hours=hours, minutes=minutes, seconds=seconds + fraction)


def _seconds(milliseconds: float | None) -> float | None:
    is_known = milliseconds is not None and math.isfinite(milliseconds)
    return milliseconds / 1000 if is_known and milliseconds is not None else None


def _unavailable(sentence: str) -> StudyRejected:
    return StudyRejected(f"no SUV: {sentence}", Reason.PIXELS_SUV_UNAVAILABLE)
