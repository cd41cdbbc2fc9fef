"""DICOM Segmentation (PS3.3 A.51, A.86) onto the grid of a volume: each frame by its own place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import integer_of, text_of
from pipeline.dicom.labels import placing
from pipeline.dicom.labels.elements import codes_of, items_of, positive_of
from pipeline.dicom.labels.frames import Frame, frames_of, sources_of
from pipeline.dicom.labels.grid import Grid
from pipeline.dicom.labels.label_read import LabelRead
from pipeline.dicom.labels.options import Options
from pipeline.dicom.labels.patches import Patches, Room
from pipeline.dicom.labels.refusal import invalid
from pipeline.dicom.labels.resampling import Nearest
from pipeline.dicom.labels.seg_pixels import pixels_of

Inside: TypeAlias = Callable[[NDArray[Any], int], NDArray[np.bool_]]

_TYPES: Final = ("BINARY", "FRACTIONAL", "LABELMAP")


def read_seg(dataset: Dataset, grid: Grid, options: Options, room: Room) -> LabelRead:
    """Read the segments of one segmentation object.

    Args:
        dataset: the object, pixels included. Its bytes may be hostile: called in a child.
        grid: that of the volume.
        options: what is wanted.
        room: what all regions of this read may take.

    Raises:
        StudyRejected: label.invalid where the object contradicts itself, label.mismatch where
            it does not lie on the grid or belongs to another image.

    """
    kind = text_of(dataset, "SegmentationType").upper()
    if kind not in _TYPES:
        raise invalid("it states no SegmentationType that is known")
    segments = _segments(dataset, kind, options)
    frames = frames_of(dataset, kind, options.limits)
    warnings = grid.check_reference(text_of(dataset, "FrameOfReferenceUID"), sources_of(dataset))
    nearest = partial(Nearest, frames, grid, room) if options.resample else None
    place = placing.plan(frames, grid, nearest=nearest)
    if place.is_resampled:
        warnings.append("it lies on another grid; every voxel took the label nearest to it")
    reading = _Reading(
        segments=segments,
        wanted={n for n, one in segments.items() if options.is_wanted(one.name, one.codes)},
        place=place,
        inside=_insides(dataset, kind, options),
    )
    reading.read(frames, pixels_of(dataset, kind, len(frames)))
    regions = tuple(segments[number].region(grid, room) for number in sorted(reading.wanted))
    return LabelRead(shape=grid.shape, regions=regions, warnings=tuple(warnings))


def _segments(dataset: Dataset, kind: str, options: Options) -> dict[int, Patches]:
    """Return every segment by number; of a label map 0 is the background, described or not."""
    segments: dict[int, Patches] = {}
    for item in items_of(dataset, "SegmentSequence"):
        number = integer_of(item, "SegmentNumber")
        if number is None or not 0 <= number <= 65535 or number in segments:
            raise invalid("its segments are not numbered, each by a number of its own")
        codes = codes_of(
            item,
            "SegmentedPropertyTypeCodeSequence",
            "AnatomicRegionSequence",
            "PrimaryAnatomicStructureSequence",
        )
        name = text_of(item, "SegmentLabel") or (codes[0].meaning if codes else "")
        segments[number] = Patches(name=name, codes=codes, number=number)
    if kind == "LABELMAP":
        segments.pop(0, None)
    if not segments or 0 in segments or len(segments) > options.limits.frames:
        raise invalid("it describes no segments, or too many")
    return segments


def _insides(dataset: Dataset, kind: str, options: Options) -> Inside:
    """Return what says which pixels of a frame belong to a segment."""
    if kind == "LABELMAP":
        return lambda pixels, number: np.asarray(pixels == number)
    if kind == "BINARY":
        return lambda pixels, _number: np.asarray(pixels != 0)
    highest = positive_of(dataset, "MaximumFractionalValue", 255)
    least = options.threshold * highest

    def inside(pixels: NDArray[Any], _number: int) -> NDArray[np.bool_]:
        if pixels.max(initial=0) > highest:
            raise invalid("a fraction is greater than the greatest that is stated")
        return np.asarray(pixels >= least)

    return inside


@dataclass(kw_only=True)
class _Reading:
    """The frames of one object on their way into the patches of its segments."""

    segments: dict[int, Patches]
    wanted: set[int]
    place: placing.Plan
    inside: Inside
    seen: set[tuple[int, Hashable]] = field(default_factory=set)

    def read(self, frames: Sequence[Frame], decode: Callable[[int], NDArray[Any]]) -> None:
        for frame in frames:
            if frame.segment is not None and frame.segment not in self.segments:
                raise invalid("a frame belongs to a segment that is not described")
            if frame.segment is not None and frame.segment not in self.wanted:
                continue
            pixels = decode(frame.number)
            for number in self._numbers(frame, pixels):
                self._check_once(number, frame)
                self.place.put(self.segments[number], frame, self.inside(pixels, number))
        self.place.finish()

    def _numbers(self, frame: Frame, pixels: NDArray[Any]) -> list[int]:
        if frame.segment is not None:
            return [frame.segment]
        numbers = {int(number) for number in np.unique(pixels) if number}
        if not numbers <= set(self.segments):
            raise invalid("a voxel belongs to a segment that is not described")
        return sorted(numbers & self.wanted)

    def _check_once(self, number: int, frame: Frame) -> None:
        key = number, self.place.key(frame)
        if key in self.seen:
            raise invalid("two frames state the same slice of one segment")
        self.seen.add(key)
