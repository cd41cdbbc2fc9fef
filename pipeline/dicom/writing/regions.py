r"""Boxes of detections as regions of the source's images (PS3.3 C.18.6).

Spatial coordinates are (column, row) with 0.0\0.0 at the outer corner of the first pixel and
Columns\Rows at the outer corner of the last (PS3.3 C.18.6.1.2): the edges of an ``index_box``
as they are, pixel centres at halves.
"""

from __future__ import annotations

import numpy as np
from highdicom.sr import ImageRegion, SourceImageForRegion
from highdicom.sr.enum import GraphicTypeValues
from numpy.typing import NDArray

from pipeline.results import Detection
from pipeline.volume import Image, Input, SourceHeader, SourceInstance, Volume


def regions_of(detection: Detection, source: Input) -> list[ImageRegion]:
    """Return the box of ``detection`` as closed rectangles on the images of ``source``.

    Of a volume every slice whose centre lies in the box carries one, a box between two centres
    is drawn on the nearest slice. Of a loop one rectangle names all its frames. Together with
    the positions of the slices this is the box to the voxel, and it is what viewers draw.

    Raises:
        ValueError: no header.

    """
    if source.header is None:
        raise ValueError("a region needs the header of its source")
    if isinstance(source, Image):
        return [_on_image(detection, source, source.header)]
    return _on_slices(detection, source, source.header)


def _on_image(detection: Detection, source: Image, header: SourceHeader) -> ImageRegion:
    s0, r0, c0, s1, r1, c1 = detection.index_box
    frames, rows, columns = source.pixels.shape[:3]
    instance = header.instances[0]
    named: list[int] | None = None if instance.frame is None else [instance.frame]
    if frames > 1:
        named = [number + 1 for number in range(frames) if s0 <= number + 0.5 < s1]
        named = named or [_nearest(s0, s1, np.arange(frames)) + 1]
    rectangle = _rectangle((r0, r1), (c0, c1), (rows, columns))
    return _region(rectangle, instance, named)


def _on_slices(detection: Detection, source: Volume, header: SourceHeader) -> list[ImageRegion]:
    s0, r0, c0, s1, r1, c1 = detection.index_box
    count, rows, columns = source.stored.shape
    places, shifts = np.arange(count), [(0.0, 0.0)] * count
    if source.regridding is not None:
        places = np.asarray(source.regridding.slices)
        shifts = list(source.regridding.shifts)
        _, rows, columns = source.regridding.shape
    inside = np.flatnonzero((s0 <= places + 0.5) & (places + 0.5 < s1)).tolist()
    found = []
    for index in inside or [_nearest(s0, s1, places)]:
        down, right = shifts[index]
        rectangle = _rectangle((r0 - down, r1 - down), (c0 - right, c1 - right), (rows, columns))
        instance = header.instances[index]
        found.append(
            _region(rectangle, instance, None if instance.frame is None else [instance.frame])
        )
    return found


def _nearest(first: float, past: float, places: NDArray[np.int64]) -> int:
    return int(np.argmin(np.abs(places + 0.5 - (first + past) / 2)))


def _rectangle(
    rows: tuple[float, float], columns: tuple[float, float], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return (5, 2) corners (column, row), the first again at the end, within the image."""
    top, bottom = (float(np.clip(edge, 0, shape[0])) for edge in rows)
    left, right = (float(np.clip(edge, 0, shape[1])) for edge in columns)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])


def _region(
    rectangle: NDArray[np.float64], instance: SourceInstance, frames: list[int] | None
) -> ImageRegion:
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=rectangle,
        source_image=SourceImageForRegion(
            referenced_sop_class_uid=instance.sop_class_uid,
            referenced_sop_instance_uid=instance.sop_instance_uid,
            referenced_frame_numbers=frames,
        ),
    )
