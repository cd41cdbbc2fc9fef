"""Label maps as DICOM Segmentation objects (PS3.3 A.51) on the grid of their source."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.writing.elements import encapsulated, native
from pipeline.dicom.writing.multiframe import Frame, target_of
from pipeline.dicom.writing.packing import (
    Plane,
    Runs,
    extents,
    packed_bits,
    run_length_encoded,
    runs_of,
)
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.seg_object import SegmentationType, encode
from pipeline.dicom.writing.seg_segments import in_order
from pipeline.dicom.writing.slices import on_source
from pipeline.results import Segment
from pipeline.volume import Input


class Encoding(enum.StrEnum):
    """How the pixels are stored. Every viewer reads BINARY; LABELMAP (Sup. 243) is far smaller.

    BINARY is uncompressed, as viewers expect; LABELMAP is RLE Lossless.
    """

    BINARY = "BINARY"
    LABELMAP = "LABELMAP"


def write_seg(
    source: Input,
    label_map: NDArray[np.uint8],
    segments: Sequence[Segment],
    provenance: Provenance,
    *,
    encoding: Encoding = Encoding.BINARY,
) -> bytes:
    """Encode ``label_map`` as one SEG instance in a series of its own.

    Args:
        source: what was segmented; its ``header`` gives patient, study and the slices' UIDs.
        label_map: uint8 (slices, rows, columns) on the grid of ``source``: 255 labels at most.
        segments: the labels that are described, present in the map or not. They are numbered
            anew from 1 in order of their numbers, because BINARY allows no gap (PS3.3 C.8.20.2).
        provenance: the same provenance and map give the same bytes.
        encoding: BINARY unless the analysis asks otherwise.

    Returns:
        A DICOM file on the slices of the source. Slices without any segment are left out; a map
        with nothing in it is still a valid statement and carries the first slice, empty. Frames
        of an image without a place in the patient refer to the frames of the image only, and
        the object has no frame of reference (PS3.3 A.51.5.1).

    Raises:
        ValueError: no header, no segment, a shape other than the source's, or a label in the
            map that no segment describes.
        StudyRejected: more pixels than one object can hold.

    """
    ordered = in_order(segments)
    target = target_of(source)
    labels = on_source(source, label_map)
    numbers = [segment.number for segment in ordered]
    if encoding is Encoding.LABELMAP:
        frames, element = _label_frames(labels, numbers)
        return encode(target, ordered, SegmentationType.LABELMAP, frames, [element], provenance)
    frames, bits = _bit_frames(labels, numbers)
    pixels = native(0x7FE00010, "OB", [bits.data])
    return encode(target, ordered, SegmentationType.BINARY, frames, pixels, provenance)


def _label_frames(labels: NDArray[np.uint8], numbers: Sequence[int]) -> tuple[list[Frame], bytes]:
    """Return the slices with anything in them and their labels, renumbered, as Pixel Data."""
    table = np.zeros(256, np.uint8)
    table[list(numbers)] = np.arange(1, len(numbers) + 1)
    frames, encoded = [], []
    for index in _used(labels) or [0]:
        runs = runs_of(labels[index])
        _check(np.unique(runs.labels), numbers)
        frames.append(Frame(slice=index))
        encoded.append(run_length_encoded(Runs(runs.starts, runs.lengths, table[runs.labels])))
    return frames, encapsulated(encoded)


def _bit_frames(
    labels: NDArray[np.uint8], numbers: Sequence[int]
) -> tuple[list[Frame], NDArray[np.uint8]]:
    """Return a frame for every segment in every slice that has it, and their bits."""
    used = _used(labels)
    bounds = {index: extents(runs_of(labels[index])) for index in used}
    for first, _ in bounds.values():
        _check(np.flatnonzero(first >= 0), numbers)
    frames, planes = [], []
    for segment, number in enumerate(numbers, start=1):
        for index, (first, last) in bounds.items():
            if first[number] >= 0:
                frames.append(Frame(slice=index, segment=segment))
                planes.append(Plane(labels[index], number, int(first[number]), int(last[number])))
    if not frames:
        frames, planes = [Frame(slice=0, segment=1)], [Plane(labels[0], numbers[0], 0, 0)]
    return frames, packed_bits(planes)


def _used(labels: NDArray[np.uint8]) -> list[int]:
    return [index for index, frame in enumerate(labels) if frame.any()]


def _check(found: NDArray[np.integer], numbers: Sequence[int]) -> None:
    if unknown := set(found.tolist()) - {0, *numbers}:
        raise ValueError(f"no segment describes the labels {sorted(unknown)} of the map")
