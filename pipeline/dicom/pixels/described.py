"""What an answer tells of the source of its voxels."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from pipeline.dicom.pixels.stored import Frames
from pipeline.dicom.series.frames import Frame
from pipeline.dicom.writing.template import encode_template


def source_of(
    reader: Frames, frames: Sequence[Frame], *, is_whole: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return (the fields of a ``SourceHeader`` as JSON values, warnings).

    Args:
        reader: of their files.
        frames: of a volume, one per slice; of an image, the first.
        is_whole: all frames of an instance together are the image.

    """
    first = frames[0]
    with reader.opened(first.header.path) as file:
        template, warnings = encode_template(file)
    if first.is_spacing_of_detector:
        warnings.append("its spacing is that of the detector plane, where the patient is magnified")
    fields = {
        "template": base64.b64encode(template).decode(),
        "study_instance_uid": first.header.study_instance_uid,
        "series_instance_uid": first.header.series_instance_uid,
        "frame_of_reference_uid": first.header.frame_of_reference_uid,
        "modality": first.header.modality,
        "orientation": _finite(first.orientation),
        "pixel_spacing": _finite(first.pixel_spacing),
        "is_spacing_of_detector": first.is_spacing_of_detector,
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
    return fields, warnings


def _finite(numbers: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if numbers is None or not all(math.isfinite(number) for number in numbers):
        return None
    return numbers
