"""Videos as loops: MP4, MOV, AVI, Matroska and WebM, decoded by FFmpeg through PyAV.

A file is opened as what its first bytes say, never as what FFmpeg would guess of it: playlists and
the like name other files. A video is read to its last frame or refused, so no loop is shorter than
it was recorded. Sound is left out.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.training import pictures, video_files
from pipeline.volume import Image

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

SUFFIXES: Final = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
#: for what cameras, endoscopes and scanners record; each of FFmpeg's hundreds of others is a risk
_DECODERS: Final = (
    *("h264", "hevc", "libdav1d", "vp8", "vp9"),
    *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "vc1"),
    *("mjpeg", "dvvideo", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "rawvideo"),
)
#: of all frames; in float32 as many bytes as a volume may have
_MOST_PIXELS: Final = 1 << 32
#: what FFmpeg is told: nothing is mended, and no frame may be absurdly large
_LIMITS: Final = {
    "codec_whitelist": ",".join(_DECODERS),
    "max_pixels": str(Picture.MAX_IMAGE_PIXELS),
    "err_detect": "crccheck+bitstream+buffer+explode",
}
#: in a display matrix
_ONE: Final = 1 << 16


def read(path: Path, *, is_colour: bool, to_grey: bool = False) -> Image:
    """Read the frames of a video in their order: grey values as float32, colours as uint8.

    What is grey and what has colours is settled as for pictures. Frames are turned as the file says
    that they are to be shown, and taken as they come, however long each is shown.

    Args:
        path: of the file; told by its content, not by its name.
        is_colour: whether frames in colours keep them.
        to_grey: whether they are turned to grey where grey ones are asked for (ITU-R BT.601 luma);
            otherwise they are refused.

    Raises:
        StudyRejected: PyAV is not installed; the file cannot be read to its end, or does not hold
            exactly one video; or its frames are of several kinds, or none that a picture may have.

    """
    with _refusals(), path.open("rb") as file:
        frames = [
            pictures.values(frame, is_colour=is_colour, to_grey=to_grey) for frame in _frames(file)
        ]
    if len({(frame.shape, frame.dtype) for frame in frames}) != 1:
        sentence = "the frames of the video differ in size or colours"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    return Image(pixels=np.stack(frames))


def without_remarks(data: bytes) -> bytes:
    """Return a TIFF with nothing but the frames of a video, as they are shown.

    Raises:
        StudyRejected: it cannot be read.

    """
    with _refusals():
        return pictures.as_tiff(list(_frames(io.BytesIO(data))))


def _frames(file: BinaryIO) -> Iterator[Picture.Image]:
    """Yield the frames upright; where some are missing the last one is followed by an error."""
    form = video_files.form(file)
    with _opened(file, form) as container:
        stream = _only_video(container)
        stated = stream.frames
        shown = hidden = 0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise ValueError("a frame is cut off")
            hidden += _is_hidden(packet)
            for frame in packet.decode():
                shown += 1
                _refuse_large(frame, max(shown, stated))
                yield _picture(frame)
    recorded = video_files.frames(file, form, stated)
    if not shown or not recorded:
        raise ValueError("it has no frames, or does not say how many")
    if shown + hidden != recorded:
        sentence = f"{shown + hidden} of {recorded} frames of the video can be read"
        raise StudyRejected(sentence, Reason.FILE_TRUNCATED)


def _refuse_large(frame: VideoFrame, count: int) -> None:
    if count * frame.width * frame.height > _MOST_PIXELS:
        raise StudyRejected("the video is absurdly large", Reason.PIXELS_TOO_LARGE)


def _opened(file: BinaryIO, form: str) -> InputContainer:
    """Open a file as one form alone, with few decoders, and nothing beside it."""
    import av

    file.seek(0)
    return av.open(
        file, "r", format=form, options=_LIMITS, metadata_errors="ignore", io_open=_refuse
    )


def _refuse(*_: object) -> NoReturn:
    """Open no other file, whatever a video says about where its frames are."""
    raise PermissionError


def _only_video(container: InputContainer) -> VideoStream:
    """Return the one video of a file, to be decoded by one thread and without mending."""
    count = len(container.streams.video)
    if count != 1:
        sentence = f"the file holds {count} videos, not exactly one"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    stream = container.streams.video[0]
    decoder = stream.codec_context
    if decoder is None or decoder.name not in _DECODERS:
        raise StudyRejected("the compression of the video is not read", Reason.PIXELS_UNSUPPORTED)
    decoder.thread_count = 1
    decoder.options = _LIMITS
    return stream


def _is_hidden(packet: Packet[VideoStream]) -> bool:
    """Say whether a frame of VP8 is there for others to refer to, never shown (RFC 6386, 9.1)."""
    is_vp8 = packet.stream.codec_context.name == "vp8"
    return bool(is_vp8 and packet.size and not bytes(packet)[0] & 0x10)


def _picture(frame: VideoFrame) -> Picture.Image:
    """Return a frame as it is to be shown: grey as it is stored, or in colours of 8 bits."""
    from av.video.reformatter import Interpolation

    parts = frame.format.components
    if all(part.is_luma for part in parts):
        return Picture.fromarray(_upright(frame.to_ndarray(), frame))
    if max(part.bits for part in parts) > 8:
        sentence = "the video has colours of more than 8 bits"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    exactly = Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
    full = frame.reformat(
        format="rgba" if any(part.is_alpha for part in parts) else "rgb24",
        interpolation=Interpolation.BILINEAR | exactly,
        threads=1,
    )
    return Picture.fromarray(_upright(full.to_ndarray(), frame))


def _upright(pixels: NDArray[Any], frame: VideoFrame) -> NDArray[Any]:
    """Turn (rows, columns, ...) by the matrix that maps (x, y) to (a x + c y, b x + d y).

    ISO/IEC 14496-12, 6.2.2.
    """
    beside: Any = frame.side_data  # any mapping by its type, not only of motion vectors
    if "DISPLAYMATRIX" not in beside:
        return pixels
    matrix = np.frombuffer(bytes(beside["DISPLAYMATRIX"]), np.int32)
    a, b, c, d = (matrix[[0, 1, 3, 4]] / _ONE).tolist()
    across, down = a or c, d or b
    if sorted(map(abs, (a, b, c, d))) != [0, 0, 1, 1] or abs(across * down) != 1:
        sentence = "the video is to be shown at an angle"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    turned = pixels if a else pixels.swapaxes(0, 1)
    return np.ascontiguousarray(turned[:: int(down), :: int(across)])


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn whatever is said of a broken file into a refusal."""
    try:
        import av
    except ModuleNotFoundError as error:
        sentence = "videos need PyAV, which is not installed: pip install 'nightshift[video]'"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED) from error
    broken = (OSError, ValueError, LookupError, MemoryError, OverflowError)
    try:
        yield
    except (av.FFmpegError, *broken) as error:
        sentence = "it is not a readable MP4, MOV, AVI, Matroska or WebM video, or not whole"
        raise StudyRejected(sentence, Reason.FILE_UNREADABLE) from error
