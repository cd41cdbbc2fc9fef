"""Decode one compressed frame: which decoder first, what if it fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.pixels import codestream
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

#: The fastest first, by CPU time per frame: JPEG-LS 3.2 ms (pyjpegls) to 6.4 (gdcm); J2K lossless
#: 23 to 29 (pylibjpeg, gdcm), lossy 2.5 to 5.2; RLE 0.4 to 2.4 (pylibjpeg, pydicom).
_ORDER: Final = ("pyjpegls", "pylibjpeg", "gdcm", "pillow", "pydicom")


def in_order(plugins: Iterable[str]) -> tuple[str, ...]:
    """Return decoders in the order in which they are tried."""
    return tuple(sorted(plugins, key=lambda p: _ORDER.index(p) if p in _ORDER else len(_ORDER)))


def decode_frame(
    frame: bytes, header: InstanceHeader, *, planar: int = 0
) -> tuple[NDArray[Any], str, list[str]]:
    """Decode one frame whose code stream has passed the gate, or refuse it.

    Args:
        frame: the code stream.
        header: of its instance.
        planar: PlanarConfiguration of the header, where it has several samples.

    Returns:
        Samples (rows, columns) or (rows, columns, samples) as stored, the photometric
        interpretation that they are now in, and warnings.

    Raises:
        StudyRejected: the gate or every decoder refuses it.

    """
    stated, warnings = codestream.check(frame, header)
    photometric = header.photometric or "MONOCHROME2"
    if stated is not None and stated.is_ybr is not None:
        photometric, found = _corrected(photometric, is_ybr=stated.is_ybr)
        warnings += found
    decoder = get_decoder(header.transfer_syntax_uid)
    failures: list[str] = []
    for plugin in in_order(decoder.available_plugins):
        try:
            decoded, properties = decoder.as_array(
                encapsulate([frame], has_bot=False),
                index=0,
                raw=True,
                decoding_plugin=plugin,
                **_options(header, photometric, planar),
            )
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken pixels make them
            failures.append(type(error).__name__)
            continue
        return decoded, str(properties["photometric_interpretation"]), warnings
    name = UID(header.transfer_syntax_uid).name
    sentence = f"its pixels cannot be decoded ({name}, {', '.join(sorted(set(failures)))})"
    raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE)


def _options(header: InstanceHeader, photometric: str, planar: int) -> dict[str, Any]:
    return {
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": 1,
        "samples_per_pixel": header.samples,
        "bits_allocated": header.bits_allocated,
        "bits_stored": header.bits_stored,
        "pixel_representation": int(header.is_signed),
        "photometric_interpretation": photometric,
        "planar_configuration": planar,
    }


def _corrected(photometric: str, *, is_ybr: bool) -> tuple[str, list[str]]:
    """Believe the markers of a JPEG code stream where they contradict the header."""
    if is_ybr == photometric.startswith("YBR"):
        return photometric, []
    corrected = "YBR_FULL_422" if is_ybr else "RGB"
    return corrected, [f"the code stream says its colours are {corrected}, not {photometric}"]
