"""How stored values become values, frame by frame (PS3.3 C.11.1, C.7.6.16.2.9)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.dicom import sop_classes
from pipeline.dicom.series.frames import Frame
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_LARGEST: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """One slope and one intercept per frame."""

    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]

    @property
    def is_uniform(self) -> bool:
        """Say whether all frames share one slope and one intercept."""
        return len(set(self.slopes)) == 1 and len(set(self.intercepts)) == 1


def rescale(frames: Sequence[Frame]) -> Rescale:
    """Return slope and intercept of every frame; 1 and 0 where absent.

    Raises:
        StudyRejected: a value that is not finite, out of bounds, or a slope of zero.

    """
    if any(_lacks_rescale(f) for f in frames):
        sentence = "a CT slice states no RescaleSlope and RescaleIntercept, so no HU"
        raise StudyRejected(sentence, Reason.PIXELS_RESCALE_NOT_FINITE)
    slopes = tuple(1.0 if f.slope is None else f.slope for f in frames)
    intercepts = tuple(0.0 if f.intercept is None else f.intercept for f in frames)
    is_bounded = all(abs(v) <= _LARGEST for v in itertools.chain(slopes, intercepts))
    if not is_bounded or any(abs(slope) < 1 / _LARGEST for slope in slopes):
        sentence = "RescaleSlope or RescaleIntercept is not finite, zero or out of bounds"
        raise StudyRejected(sentence, Reason.PIXELS_RESCALE_NOT_FINITE)
    return Rescale(slopes=slopes, intercepts=intercepts)


def _lacks_rescale(frame: Frame) -> bool:
    """Grey CT must state both (PS3.3 C.8.2.1, C.8.15.3.10); other kinds may leave them out."""
    is_ct = frame.header.sop_class_uid in sop_classes.CT_CLASSES and not frame.header.is_colour
    return is_ct and (frame.slope is None or frame.intercept is None)
