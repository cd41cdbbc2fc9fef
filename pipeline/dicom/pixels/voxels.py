"""Pixels of checked instances into an array: read straight where stored so, decoded where not."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.series.assembly import Rescale
from pipeline.dicom.sources.source import Source
from pipeline.dicom.sources.stream import stream_of
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_STRAIGHT: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_EXCESS_BITS: Final = "bits above BitsStored were set; they are no part of the pixels"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the voxels of a volume are kept."""

    dtype: np.dtype[Any]
    slope: float
    intercept: float
    #: False where slices differ: their values are then kept, as float32
    is_stored: bool


def layout_of(slices: Sequence[InstanceHeader], rescale: Rescale) -> Layout:
    """Keep stored integers where all slices share one format and one rescale; else values."""
    dtypes = {_dtype(header) for header in slices}
    if len(dtypes) == 1 and rescale.is_uniform:
        slope, intercept = rescale.slopes[0], rescale.intercepts[0]
        return Layout(dtype=dtypes.pop(), slope=slope, intercept=intercept, is_stored=True)
    return Layout(dtype=np.dtype(np.float32), slope=1.0, intercept=0.0, is_stored=False)


def fill_volume(
    source: Source,
    slices: Sequence[InstanceHeader],
    rescale: Rescale,
    layout: Layout,
    mapped: mmap.mmap,
    shape: tuple[int, ...],
) -> list[str]:
    """Write every slice into the mapped memory, (slices, rows, columns); return warnings."""
    out = np.frombuffer(mapped, layout.dtype, math.prod(shape)).reshape(shape)
    warnings: set[str] = set()
    for index, header in enumerate(slices):
        if layout.is_stored:
            _read_stored(source, header, out[index], warnings)
            continue
        stored = np.empty(shape[1:], _dtype(header))
        _read_stored(source, header, stored, warnings)
        np.multiply(stored, rescale.slopes[index], out=out[index], casting="unsafe")
        out[index] += np.float32(rescale.intercepts[index])
    del out
    if not layout.is_stored:
        warnings.add("format or rescale differ between the slices; values are kept as float32")
    return sorted(warnings)


def fill_image(
    source: Source,
    header: InstanceHeader,
    rescale: Rescale,
    mapped: mmap.mmap,
    shape: tuple[int, ...],
) -> list[str]:
    """Write one instance into the mapped memory; return warnings.

    Grey: float32 values, larger is brighter, (frames, rows, columns). Colour: RGB, uint8,
    (frames, rows, columns, 3).
    """
    warnings: set[str] = set()
    if header.is_colour:
        out = np.frombuffer(mapped, np.uint8, math.prod(shape)).reshape(shape)
        out[...] = _decode_colour(source, header).reshape(shape)
        return []
    values = np.frombuffer(mapped, np.float32, math.prod(shape)).reshape(shape)
    stored = np.empty(shape, _dtype(header))
    _read_stored(source, header, stored, warnings)
    if header.photometric == "MONOCHROME1":
        low, high = _range(header)
        np.subtract(low + high, stored, out=values, casting="unsafe")
    else:
        values[...] = stored
    values *= np.float32(rescale.slopes[0])
    values += np.float32(rescale.intercepts[0])
    return sorted(warnings)


def _dtype(header: InstanceHeader) -> np.dtype[Any]:
    kind = "i" if header.is_signed else "u"
    return np.dtype(f"<{kind}{max(8, header.bits_allocated) // 8}")


def _range(header: InstanceHeader) -> tuple[int, int]:
    """Return the least and the greatest value that BitsStored can hold."""
    if header.is_signed:
        return -(1 << (header.bits_stored - 1)), (1 << (header.bits_stored - 1)) - 1
    return 0, (1 << header.bits_stored) - 1


def _read_stored(
    source: Source, header: InstanceHeader, out: NDArray[Any], warnings: set[str]
) -> None:
    """Fill ``out`` (contiguous, any shape of the right size) with stored values."""
    is_straight = header.transfer_syntax_uid in _STRAIGHT and header.bits_allocated >= 8
    if is_straight and not header.pixels.is_deflated:
        _read_straight(source, header, out)
    else:
        decoded = _decode(source, header, as_rgb=False)
        if decoded.size != out.size:
            sentence = "its pixels decode to another size than its header states"
            raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE)
        # Decoders choose their own width; the stored values fit the header's.
        out[...] = decoded.reshape(out.shape).astype(out.dtype, copy=False)
    if header.bits_stored < header.bits_allocated:
        low, high = _range(header)
        if out.min() < low or out.max() > high:
            warnings.add(_EXCESS_BITS)
            excess = header.bits_allocated - header.bits_stored
            out <<= excess
            out >>= excess  # arithmetic for signed: extends the sign


def _read_straight(source: Source, header: InstanceHeader, out: NDArray[Any]) -> None:
    """Read uncompressed little-endian pixels from their place in the file, without a copy."""
    view = out.data.cast("B")
    with source.open(header.path) as file:
        if file.read_into(header.pixels.offset, view) < len(view):
            sentence = "the file ends inside its pixel data"
            raise StudyRejected(sentence, Reason.FILE_TRUNCATED)


def _decode(source: Source, header: InstanceHeader, *, as_rgb: bool) -> NDArray[Any]:
    """Decode through pydicom's plugins; whatever they raise refuses the pixels."""
    try:
        dataset = _dataset(source, header)
        decoded: NDArray[Any] = pixel_array(dataset, raw=not as_rgb)
        if as_rgb and header.photometric == "PALETTE COLOR":
            decoded = apply_color_lut(decoded, dataset)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise whatever broken pixels make them
        name = UID(header.transfer_syntax_uid).name
        sentence = f"its pixels cannot be decoded ({name}, {type(error).__name__})"
        raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE) from None
    return decoded


def _dataset(source: Source, header: InstanceHeader) -> FileDataset:
    # Forcing is safe here: the header reader has already found the structure sound.
    with source.open(header.path) as file:
        dataset = dcmread(stream_of(file), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax_uid)
    return dataset


def _decode_colour(source: Source, header: InstanceHeader) -> NDArray[np.uint8]:
    decoded = _decode(source, header, as_rgb=True)
    expected = header.frames * header.rows * header.columns * 3
    if decoded.size != expected or decoded.dtype.kind not in "ui":
        sentence = "its pixels decode to another size than its header states"
        raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE)
    if decoded.dtype.itemsize == 1:
        return decoded.view(np.uint8)
    # Palettes hold 16-bit colours; other deep colours use BitsStored of their samples.
    bits = 16 if header.photometric == "PALETTE COLOR" else header.bits_stored
    return (decoded >> max(0, bits - 8)).astype(np.uint8)
