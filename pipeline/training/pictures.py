"""Pictures as cases and masks: PNG, JPEG and TIFF, grey or in colours, with one frame or several.

Values are never changed without being asked for: what has colours or can be seen through is no
grey picture, and what has 16 bits for each colour is not cut down to 8.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageOps, ImageSequence

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Image

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_FORMATS: Final = ("PNG", "JPEG", "TIFF")
#: modes of pictures without colours
_GREY: Final = frozenset({"1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
#: of a PNG (ISO/IEC 15948, 11.2.2): kinds of pixels other than grey ones and palettes
_COMPOSED: Final = frozenset({2, 4, 6})
_HEAD: Final = 26
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def read(path: Path, *, is_colour: bool, to_grey: bool = False) -> Image:
    """Read a picture: grey values as float32, colours as uint8.

    A grey picture is grey also where it is stored in three equal colours, unless colours are
    asked for; it is shown as its orientation tag says.

    Args:
        path: of the file; told by its content, not by its name.
        is_colour: whether a picture in colours keeps them.
        to_grey: whether one in colours is turned to grey where grey ones are asked for
            (ITU-R BT.601 luma); otherwise it is refused.

    Raises:
        StudyRejected: it cannot be read, has parts that can be seen through, colours where grey is
            asked for, or frames of several kinds.

    """
    with _refusals(), Picture.open(path, formats=_FORMATS) as picture:
        with path.open("rb") as file:
            _refuse_deep_colours(file.read(_HEAD))
        frames = [
            values(ImageOps.exif_transpose(frame), is_colour=is_colour, to_grey=to_grey)
            for frame in ImageSequence.Iterator(picture)
        ]
    if len({(frame.shape, frame.dtype) for frame in frames}) != 1:
        sentence = "the frames of the picture differ in size or colours"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    return Image(pixels=np.stack(frames))


def read_numbers(path: Path) -> NDArray[np.float32]:
    """Read a picture whose pixels are numbers of labels or objects: (frames, rows, columns).

    Of a palette the indices count, as in Pascal VOC, not the colours that they are shown in.

    Raises:
        StudyRejected: it cannot be read, or its pixels are colours.

    """
    with _refusals(), Picture.open(path, formats=_FORMATS) as picture:
        if picture.mode == "P":
            return np.asarray(picture, np.float32)[None]
    return np.asarray(read(path, is_colour=False).pixels, np.float32)


def without_remarks(data: bytes) -> bytes:
    """Return a TIFF with nothing but the pixels of a picture, its orientation carried out.

    Raises:
        StudyRejected: it cannot be read.

    """
    with _refusals(), Picture.open(io.BytesIO(data), formats=_FORMATS) as picture:
        _refuse_deep_colours(data)
        return as_tiff([_bare(frame) for frame in ImageSequence.Iterator(picture)])


def as_tiff(frames: Sequence[Picture.Image]) -> bytes:
    """Return the frames of one picture as a file."""
    written = io.BytesIO()
    frames[0].save(written, "TIFF", save_all=True, append_images=frames[1:])
    return written.getvalue()


def _bare(frame: Picture.Image) -> Picture.Image:
    """Return a frame that carries nothing along."""
    turned = ImageOps.exif_transpose(frame)
    bare = Picture.frombytes(turned.mode, turned.size, turned.tobytes())
    if turned.palette is not None:
        bare.putpalette(turned.palette)
    return bare


def values(picture: Picture.Image, *, is_colour: bool, to_grey: bool) -> NDArray[Any]:
    """Return one frame, settled as ``read`` says: (rows, columns) float32, or with 3 of uint8.

    Raises:
        StudyRejected: it can be seen through, or has colours where grey is asked for.

    """
    if picture.mode in _GREY:
        return np.asarray(picture, np.float32)
    if picture.has_transparency_data:
        full = picture.convert("RGBA")
        if np.asarray(full)[..., 3].min() < 255:
            sentence = "parts of the picture can be seen through"
            raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
        picture = full
    colours = np.array(picture.convert("RGB"))
    if is_colour:
        return colours
    if (colours == colours[..., :1]).all():
        return colours[..., 0].astype(np.float32)
    if to_grey:
        return np.asarray(picture.convert("RGB").convert("L"), np.float32)
    sentence = "the picture has colours, a grey one is expected"
    raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)


def _refuse_deep_colours(head: bytes) -> None:
    """Refuse what the decoder would cut down to 8 bits without saying so."""
    if head.startswith(_PNG) and head[24] == 16 and head[25] in _COMPOSED:
        sentence = "the picture has colours of 16 bits"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn whatever the decoder says of a broken file into a refusal."""
    broken = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError)
    bombs = (Picture.DecompressionBombError, Picture.DecompressionBombWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Picture.DecompressionBombWarning)
            yield
    except bombs as error:
        sentence = "the picture is absurdly large"
        raise StudyRejected(sentence, Reason.PIXELS_TOO_LARGE) from error
    except (*broken, struct.error, zlib.error, OverflowError, MemoryError) as error:
        sentence = "it is not a readable PNG, JPEG or TIFF picture"
        raise StudyRejected(sentence, Reason.FILE_UNREADABLE) from error
