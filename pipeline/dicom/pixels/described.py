"""What an answer tells of the source of its voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.dicom.series.frames import Frame


def source_of(frames: Sequence[Frame], *, is_whole: bool) -> dict[str, Any]:
    """Return the fields of a ``SourceHeader`` but its template, as JSON values.

    Args:
        frames: of a volume, one per slice; of an image, the first.
        is_whole: all frames of an instance together are the image.

    """
    first = frames[0]
    return {
        "study_instance_uid": first.header.study_instance_uid,
        "series_instance_uid": first.header.series_instance_uid,
        "frame_of_reference_uid": first.header.frame_of_reference_uid,
        "modality": first.header.modality,
        "orientation": _finite(first.orientation),
        "pixel_spacing": _finite(first.pixel_spacing),
        "instances": [
            {
                "sop_class_uid": frame.header.sop_class_uid,
                "sop_instance_uid": frame.header.sop_instance_uid,
                "instance_number": frame.header.instance_number,
                "position": _finite(frame.position),
                "frames": frame.header.frames,
                "frame": None if is_whole or frame.header.frames == 1 else frame.number + 1,
            }
            for frame in frames
        ],
    }


def _finite(numbers: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if numbers is None or not all(math.isfinite(number) for number in numbers):
        return None
    return numbers
