"""When the frames of a loop were taken, from the header that was kept of it."""

from __future__ import annotations

import io
from itertools import accumulate
from typing import Final

import pydicom

from pipeline.dicom.headers.elements import number_of, numbers_of
from pipeline.volume import Input, Volume

_TAGS: Final = ("FrameTime", "FrameTimeVector", "CineRate")


def frame_times(image: Input) -> tuple[float, ...]:
    """Return the seconds from the first frame to each, as the cine module states them.

    PS3.3 C.7.6.5 and C.7.6.6.1.1: the increments of FrameTimeVector (ms), else FrameTime (ms), else
    CineRate (frames per second).

    Args:
        image: a loop; of a volume or a single image there are no times.

    Returns:
        One number for each frame; none at all where the header states no valid times.

    """
    if isinstance(image, Volume) or image.header is None or len(image.pixels) < 2:
        return ()
    stored = io.BytesIO(image.header.template)
    header = pydicom.dcmread(stored, force=True, specific_tags=list(_TAGS))
    count = len(image.pixels)
    vector = numbers_of(header, "FrameTimeVector", count)
    if vector is not None and all(step >= 0 for step in vector):
        return tuple(round(since / 1000, 6) for since in accumulate((0.0, *vector[1:])))
    step_ms, rate = number_of(header, "FrameTime"), number_of(header, "CineRate")
    if step_ms is not None and step_ms > 0:
        return tuple(round(number * step_ms / 1000, 6) for number in range(count))
    if rate is not None and rate > 0:
        return tuple(round(number / rate, 6) for number in range(count))
    return ()
