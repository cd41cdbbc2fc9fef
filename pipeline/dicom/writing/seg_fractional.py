"""Probabilities per segment as a DICOM Segmentation object of type FRACTIONAL (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.writing.elements import native
from pipeline.dicom.writing.multiframe import Frame, target_of
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.seg_object import SegmentationType, encode
from pipeline.dicom.writing.seg_segments import in_order
from pipeline.dicom.writing.slices import on_source
from pipeline.results import Segment, ValueMap
from pipeline.volume import Input

#: Maximum Fractional Value: what a probability of 1 is stored as
_MOST: Final = 255
#: how far a sum of float32 terms may lie outside 0 to 1
_TOLERANCE: Final = 1e-4


def write_fractional_seg(
    source: Input,
    maps: Sequence[ValueMap],
    segments: Sequence[Segment],
    provenance: Provenance,
) -> bytes:
    """Encode one probability map per segment as one SEG instance in a series of its own.

    Args:
        source: what was segmented; its ``header`` gives patient, study and the slices' UIDs.
        maps: ``maps[i]`` says of every voxel how probable ``segments[i]`` is there: float32
            (slices, rows, columns) on the grid of ``source``, 0 to 1. They may overlap.
        segments: at most 255, numbered anew as by ``write_seg``.
        provenance: the same provenance and maps give the same bytes.

    Returns:
        A DICOM file, Explicit VR Little Endian, in steps of 1/255. Slices where a segment has
        no probability of half a step are left out; where nothing has, the first slice is there.

    Raises:
        ValueError: no header, no segment, not one map per segment, a shape other than the
            source's, or a value that is no probability.
        StudyRejected: more pixels than one object can hold.

    """
    ordered = in_order(segments)
    target = target_of(source)
    by_number = {one.number: found for one, found in zip(segments, maps, strict=True)}
    frames: list[Frame] = []
    pixels: list[memoryview] = []
    for segment, described in enumerate(ordered, start=1):
        values = on_source(source, by_number[described.number].values)
        for index, plane in enumerate(values):
            stored = _stored(plane)
            if stored is not None:
                frames.append(Frame(slice=index, segment=segment))
                pixels.append(stored.data)
    if not frames:
        frames.append(Frame(slice=0, segment=1))
        pixels.append(np.zeros(target.slices.shape[1:], np.uint8).data)
    element = native(0x7FE00010, "OB", pixels)
    return encode(target, ordered, SegmentationType.FRACTIONAL, frames, element, provenance)


def _stored(plane: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Return probabilities (rows, columns) in steps of 1/255, rounded; None where all are 0."""
    lowest, highest = float(plane.min()), float(plane.max())
    if not (lowest >= -_TOLERANCE and highest <= 1 + _TOLERANCE):  # NaN compares false
        raise ValueError("probabilities lie between 0 and 1")
    if highest * _MOST <= 0.5:
        return None
    steps = np.rint(plane.clip(0, 1) * np.float32(_MOST))
    return np.asarray(steps, np.uint8)
