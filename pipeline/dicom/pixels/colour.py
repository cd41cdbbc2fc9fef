"""Colours of one frame as RGB of 8 bits (PS3.3 C.7.6.3.1.2)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import convert_color_space

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_PALETTE: Final = "PALETTE COLOR"
_YBR: Final = ("YBR_FULL", "YBR_FULL_422")
#: with the two that JPEG 2000 decoders turn into RGB themselves
_COLOURS: Final = frozenset({"RGB", *_YBR, "YBR_ICT", "YBR_RCT"})


def check_colour(header: InstanceHeader) -> None:
    """Refuse a photometric interpretation that is not turned into RGB, by name.

    Raises:
        StudyRejected: such as YBR_PARTIAL_422, HSV, CMYK; or signed colours.

    """
    is_palette = header.samples == 1 and header.photometric == _PALETTE
    if not is_palette and header.photometric not in _COLOURS:
        name = header.photometric or "no PhotometricInterpretation"
        sentence = f"colours in {name} are not supported"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    if header.is_signed and not is_palette:
        raise StudyRejected("signed colours are not supported", Reason.PIXELS_UNSUPPORTED)


def to_rgb(
    decoded: NDArray[Any], photometric: str, header: InstanceHeader, warnings: set[str]
) -> NDArray[np.uint8]:
    """Return one frame (rows, columns, 3) as RGB uint8.

    Deeper samples keep their greatest 8 of BitsStored bits; shallower ones are spread over 8.
    """
    bits = header.bits_stored
    if bits != 8:
        warnings.add(f"colours of {bits} bits are kept as 8")
        decoded = decoded & ((1 << bits) - 1)
        if bits > 8:
            decoded = decoded >> (bits - 8)
        else:
            decoded = decoded.astype(np.uint16) * 255 // ((1 << bits) - 1)
    eight = decoded.astype(np.uint8)
    if photometric in _YBR:
        # the same transform for both; chroma is at full size by now
        eight = convert_color_space(eight, "YBR_FULL", "RGB")
    return eight
