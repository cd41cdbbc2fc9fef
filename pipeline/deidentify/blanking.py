"""Blank rectangles of an image. Decoding runs in the confined child that this is called in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from pipeline.deidentify.pixels import masked
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

#: x, y, width, height in pixels
Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Blanked:
    """Uncompressed little endian pixels of all frames, and the attributes that describe them."""

    value: bytes
    attributes: dict[str, Any]


def blank(
    dataset: Dataset,
    syntax: str,
    rectangles: Sequence[Rectangle],
    mask: NDArray[Any] | None = None,
) -> Blanked:
    """Decode every frame, set the rectangles to 0, encode nothing again.

    Args:
        dataset: the whole instance, pixel data included, as it was read.
        syntax: its transfer syntax.
        rectangles: in pixels of the stored image; what reaches beyond it is cut.
        mask: bits of each stored value that belong to the image; None = all.

    Raises:
        FileRefused: the pixels cannot be decoded.

    """
    try:
        if mask is not None:
            # Before decoding: a conversion of colours would mix what is to go into what stays.
            dataset.PixelData = masked(dataset.PixelData, mask)
        decoder = get_decoder(UID(syntax))
        # The decoder takes the image to lie in the lowest bits; the mask knows better.
        options: dict[str, Any] = {"correct_unused_bits": mask is None}
        array, described = decoder.as_array(dataset, **options)
    except Exception as error:  # noqa: BLE001
        # The edge to decoders: each raises what it likes, and quotes what it likes.
        sentence = f"the pixels cannot be decoded ({type(error).__name__})"
        raise FileRefused(sentence, Reason.PIXELS_UNDECODABLE) from None
    frames = int(described["number_of_frames"])
    samples = int(described["samples_per_pixel"])
    rows, columns = int(described["rows"]), int(described["columns"])
    stack: NDArray[Any] = np.array(array).reshape(frames, rows, columns, samples)
    for x, y, width, height in rectangles:
        stack[:, y : y + height, x : x + width] = 0
    attributes: dict[str, Any] = {
        "PhotometricInterpretation": str(described["photometric_interpretation"]),
        "BitsAllocated": stack.dtype.itemsize * 8,
    }
    if samples > 1:
        attributes["PlanarConfiguration"] = 0
    little = stack.astype(stack.dtype.newbyteorder("<"), copy=False)
    value = little.tobytes()
    return Blanked(value=value + b"\0" * (len(value) % 2), attributes=attributes)
