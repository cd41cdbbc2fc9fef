"""The pixels of one frame of a segmentation at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian

from pipeline.dicom.headers.elements import integer_of
from pipeline.dicom.labels.elements import positive_of
from pipeline.dicom.labels.refusal import invalid
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason


def pixels_of(dataset: Dataset, kind: str, frames: int) -> Callable[[int], NDArray[Any]]:
    """Return what gives the pixels of a frame (from 0): unsigned, (rows, columns).

    Raises:
        StudyRejected: bits that are none of a segmentation, or fewer bytes than frames need.

    """
    bits = positive_of(dataset, "BitsAllocated", 16)
    if bits not in (1, 8, 16) or (integer_of(dataset, "SamplesPerPixel") or 1) != 1:
        raise invalid("its pixels are not those of a segmentation")
    if bits == 1 and kind != "BINARY":
        raise invalid("only BINARY segments have one bit for each pixel")
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    if bits == 1 and not syntax.is_encapsulated:
        return _bits(dataset, frames, is_little_endian=syntax != ExplicitVRBigEndian)
    return lambda number: _decoded(dataset, number)


def _bits(
    dataset: Dataset, frames: int, *, is_little_endian: bool
) -> Callable[[int], NDArray[Any]]:
    """Cut frames out of packed bits: they follow each other without a gap (PS3.5 8.1.1)."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    size = rows * columns
    stored = np.frombuffer(dataset.get("PixelData") or b"", np.uint8)
    if not is_little_endian and dataset["PixelData"].VR == "OW":
        stored = stored[: len(stored) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
    if len(stored) * 8 < size * frames:
        raise invalid("it holds fewer pixels than its frames need")

    def frame(number: int) -> NDArray[Any]:
        first = number * size
        cut = stored[first // 8 : -(-(first + size) // 8)]
        bits = np.unpackbits(cut, bitorder="little")
        return bits[first % 8 : first % 8 + size].reshape(rows, columns)

    return frame


def _decoded(dataset: Dataset, number: int) -> NDArray[Any]:
    try:
        pixels: NDArray[Any] = pixel_array(dataset, index=number, raw=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise whatever broken pixels make them
        sentence = f"the pixels of a segmentation cannot be decoded ({type(error).__name__})"
        raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE) from None
    if pixels.shape != (dataset.Rows, dataset.Columns) or pixels.dtype.kind not in "ui":
        raise invalid("its pixels decode to another size than its header states")
    return pixels
