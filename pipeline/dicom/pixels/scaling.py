"""From stored values to values: rescale, modality table or SUV, and the unit of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import text_of, value_of
from pipeline.dicom.pixels import suv
from pipeline.dicom.pixels.stored import Frames, dtype_of
from pipeline.dicom.series.frames import Frame
from pipeline.dicom.series.rescaling import rescale
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason

#: (0028,1011) and its kin state these for what they make of the stored values
_UNITS: Final = {"HU": "HU"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A modality lookup table (PS3.3 C.11.1.1): ``values`` of the stored ``first`` and after."""

    first: int
    values: NDArray[np.float32]

    def apply(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return the values of stored values: outside the table, its nearest end."""
        indices = np.clip(stored.astype(np.int64) - self.first, 0, len(self.values) - 1)
        return self.values[indices]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How the stored values of each frame become values, all in one unit."""

    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    #: per frame; where there is a table, slope and intercept are 1 and 0
    tables: tuple[Table | None, ...]
    unit: str
    warnings: tuple[str, ...] = ()

    @property
    def is_uniform(self) -> bool:
        """Say whether one slope and one intercept, and no table, hold for all frames."""
        has_tables = any(table is not None for table in self.tables)
        return not has_tables and len({*zip(self.slopes, self.intercepts, strict=True)}) == 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the voxels of a volume are kept."""

    dtype: np.dtype[Any]
    slope: float
    intercept: float
    #: False where frames differ: their values are then kept, as float32
    is_stored: bool


def layout_of(frames: Sequence[Frame], scale: Scale) -> Layout:
    """Keep stored numbers where all frames share one format and one rescale; else values."""
    dtypes = {dtype_of(frame.header) for frame in frames}
    if len(dtypes) == 1 and scale.is_uniform:
        slope, intercept = scale.slopes[0], scale.intercepts[0]
        return Layout(dtype=dtypes.pop(), slope=slope, intercept=intercept, is_stored=True)
    return VALUES


#: values as float32
VALUES: Final = Layout(dtype=np.dtype("<f4"), slope=1.0, intercept=0.0, is_stored=False)


def scale_of(frames: Sequence[Frame], reader: Frames, policies: Policies) -> Scale:
    """Return how the frames of one volume or image become values.

    Raises:
        StudyRejected: a rescale that is not finite; a modality table that is broken, or stands
            beside a rescale; a PET series whose SUV cannot be computed where it is asked for.

    """
    found = rescale(frames)
    tables = tuple(_table(reader, f) if f.header.has_modality_lut else None for f in frames)
    slopes, intercepts, unit = found.slopes, found.intercepts, _unit(frames[0])
    warnings: tuple[str, ...] = ()
    if any(f.header.has_modality_lut for f in frames):
        unit = _table_unit(reader.dataset_head(frames[0].header.path))
    if suv.is_pet(frames[0].header.sop_class_uid):
        factors, unit, warnings = _pet(frames, reader, policies)
        slopes = tuple(s * factor for s, factor in zip(slopes, factors, strict=True))
        intercepts = tuple(i * factor for i, factor in zip(intercepts, factors, strict=True))
    return Scale(slopes=slopes, intercepts=intercepts, tables=tables, unit=unit, warnings=warnings)


def _pet(
    frames: Sequence[Frame], reader: Frames, policies: Policies
) -> tuple[tuple[float, ...], str, tuple[str, ...]]:
    """Return (one factor per frame, the unit, warnings) of a PET series."""
    if policies.pet == "stated":
        unit = suv.stated_unit(frames[0].header.units)
        warnings = () if unit else ("the unit of its values is not stated in a known way",)
        return (1.0,) * len(frames), unit, warnings
    if suv.is_enhanced(frames[0].header.sop_class_uid):
        sentence = "SUV of enhanced PET is not supported"
        raise StudyRejected(sentence, Reason.PIXELS_SUV_UNAVAILABLE)
    heads = [reader.dataset_head(frame.header.path) for frame in frames]
    return suv.factors(heads), suv.UNIT, ()


def _unit(frame: Frame) -> str:
    is_hounsfield = frame.header.modality == "CT" and frame.rescale_type in ("", "HU")
    return "HU" if is_hounsfield else ""


def _table_unit(dataset: Dataset) -> str:
    items = value_of(dataset, "ModalityLUTSequence") or [Dataset()]
    return _UNITS.get(text_of(items[0], "ModalityLUTType").upper(), "")


def _table(reader: Frames, frame: Frame) -> Table:
    """Return the modality table of a frame's instance (PS3.3 C.11.1.1.1)."""
    if frame.slope is not None or frame.intercept is not None:
        sentence = "it states both a modality lookup table and a rescale"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    dataset = reader.dataset_head(frame.header.path)
    try:
        item = value_of(dataset, "ModalityLUTSequence")[0]
        entries, first, bits = (int(v) for v in value_of(item, "LUTDescriptor"))
        data = value_of(item, "LUTData")
        words = data if isinstance(data, bytes) else np.array(data, np.int64).astype("<u2")
    except (TypeError, ValueError, IndexError, OverflowError):
        raise _invalid("its modality lookup table cannot be read") from None
    entries = (entries & 0xFFFF) or 2**16
    first = first - 2**16 if frame.header.is_signed and first > 0x7FFF else first
    if not 8 <= bits <= 16:
        raise _invalid(f"its modality lookup table states entries of {bits} bits")
    return Table(first=first, values=_entries(bytes(words), entries, bits))


def _entries(data: bytes, entries: int, bits: int) -> NDArray[np.float32]:
    if bits == 8 and entries <= len(data) <= entries + 1:
        return np.frombuffer(data, np.uint8, entries).astype(np.float32)
    if len(data) != 2 * entries:
        raise _invalid(f"its modality lookup table holds {len(data)} bytes for {entries} entries")
    return np.frombuffer(data, "<u2", entries).astype(np.float32)


def _invalid(sentence: str) -> StudyRejected:
    return StudyRejected(sentence, Reason.PIXELS_PALETTE_INVALID)
