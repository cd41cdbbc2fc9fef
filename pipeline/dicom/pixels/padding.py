"""What of the stored values is no part of the image: padding, and bits above BitsStored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_EXCESS_BITS: Final = "bits above BitsStored were set; they are no part of the pixels"
#: whole numbers up to this are exact as float32
_EXACT: Final = 2**24
_INEXACT: Final = "values beyond 2^24 are exact as stored, but not as float32"


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """One frame of stored values after ``clean``."""

    #: how many voxels are padding; they hold what they held
    padded: int = 0
    #: extremes of the others, None where they were not needed or there are none
    least: float | None = None
    greatest: float | None = None


def stored_range(header: InstanceHeader) -> tuple[int, int]:
    """Return the least and the greatest value that BitsStored can hold."""
    if header.is_signed:
        return -(1 << (header.bits_stored - 1)), (1 << (header.bits_stored - 1)) - 1
    return 0, (1 << header.bits_stored) - 1


def padding_of(header: InstanceHeader) -> tuple[int, int] | None:
    """Return the least and greatest stored value that mean padding (PS3.3 C.7.5.1.1.2).

    Both elements are of the same signedness as the pixels; files state them with the other one
    all the same, so they are taken as bits.
    """
    if header.padding is None or header.pixels.is_float:
        return None
    limit = header.padding if header.padding_limit is None else header.padding_limit
    ends = sorted(_as_stored(value, header) for value in (header.padding, limit))
    return ends[0], ends[1]


def is_padding(stored: NDArray[Any], padding: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which stored values are padding."""
    mask: NDArray[np.bool_]
    if padding[0] == padding[1]:
        mask = stored == padding[0]
    else:
        mask = (stored >= padding[0]) & (stored <= padding[1])
    return mask


def clean(stored: NDArray[Any], header: InstanceHeader, warnings: set[str]) -> Cleaned:
    """Find the padding of a frame, and clear the bits above BitsStored of the rest.

    Args:
        stored: (rows, columns), changed in place.
        header: of its instance.
        warnings: what was found is added.

    Raises:
        StudyRejected: floating-point pixels that are not finite.

    """
    if header.pixels.is_float:
        if not np.isfinite(stored).all():
            sentence = "its floating-point pixels hold values that are not finite"
            raise StudyRejected(sentence, Reason.PIXELS_NOT_FINITE)
        return Cleaned()
    padding = padding_of(header)
    has_excess = header.bits_stored < header.bits_allocated
    if padding is None and not has_excess and stored.itemsize < 4:
        return Cleaned()
    greatest = int(stored.max())
    # Unsigned values have nothing below their range, and a look at all of them takes its time.
    least = int(stored.min()) if padding is not None or header.is_signed else None
    mask: NDArray[np.bool_] | None = None
    if padding is not None and padding[0] <= greatest and padding[1] >= (least or 0):
        mask = is_padding(stored, padding)
        real = stored[~mask]
        if not real.size:
            return Cleaned(padded=stored.size)
        least, greatest = int(real.min()), int(real.max())
    low, high = stored_range(header)
    if (least or 0) < low or greatest > high:
        warnings.add(_EXCESS_BITS)
        real = _cleared(stored, mask, header)
        least, greatest = int(real.min()), int(real.max())
    if max(-(least or 0), greatest) > _EXACT:
        warnings.add(_INEXACT)
    padded = 0 if mask is None else int(mask.sum())
    return Cleaned(padded=padded, least=least, greatest=greatest)


def _cleared(
    stored: NDArray[Any], mask: NDArray[np.bool_] | None, header: InstanceHeader
) -> NDArray[Any]:
    """Clear the bits above BitsStored outside the mask; return the values outside it."""
    excess = header.bits_allocated - header.bits_stored
    cleared = (stored << excess) >> excess  # arithmetic for signed: extends the sign
    np.copyto(stored, cleared, where=True if mask is None else ~mask)
    return cleared if mask is None else cleared[~mask]


def _as_stored(value: int, header: InstanceHeader) -> int:
    value &= (1 << header.bits_allocated) - 1
    is_negative = header.is_signed and value >> (header.bits_allocated - 1)
    return value - (1 << header.bits_allocated) if is_negative else value
