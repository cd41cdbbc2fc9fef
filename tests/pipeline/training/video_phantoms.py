"""Tiny videos with frames that are known to the bit."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.training import videos

#: container, encoder, format of pixels and options that keep every value
LOSSLESS = {
    ".mp4": ("mp4", "libx264rgb", "rgb24", {"qp": "0"}),
    ".mov": ("mov", "libx264rgb", "rgb24", {"qp": "0"}),
    ".avi": ("avi", "ffv1", "bgr0", {}),
    ".mkv": ("matroska", "ffv1", "bgr0", {}),
}


def frames(count: int = 5, rows: int = 32, columns: int = 48) -> NDArray[np.uint8]:
    """Return (frames, rows, columns): a bright square that moves and lies to the upper left."""
    made = np.full((count, rows, columns), 40, np.uint8)
    for number in range(count):
        made[number, 4:12, 4 + 4 * number : 12 + 4 * number] = 200
    return made


def in_colours(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (frames, rows, columns, 3), red where it is bright and blue elsewhere."""
    return np.stack([grey, np.full_like(grey, 10), 255 - grey], axis=-1)


def video(  # noqa: PLR0913 - as many as a video has sides
    shown: Sequence[NDArray[Any]] | NDArray[Any],
    *,
    container: str = "matroska",
    encoder: str = "ffv1",
    pixels: str = "gray",
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    turned: tuple[float, bool, bool] | None = None,
    with_sound: bool = False,
    remark: str = "",
) -> bytes:
    """Return the bytes of a video; frames are (rows, columns) or (rows, columns, 3)."""
    written = io.BytesIO()
    with av.open(written, "w", format=container, container_options=muxing) as file:
        file.metadata["comment"] = remark
        stream: Any = file.add_stream(encoder, rate=10, options=options or {})
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pixels
        stream.thread_count = 1
        if turned is not None:
            stream.set_display_rotation(turned[0], hflip=turned[1], vflip=turned[2])
        sound: Any = file.add_stream("aac", rate=48000) if with_sound else None
        if sound is not None:
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 9600), "f4"), "fltp", "mono")
            noise.rate, noise.pts = 48000, 0
            file.mux([*sound.encode(noise), *sound.encode()])
        for values in shown:
            kinds = {2: "gray" if values.dtype == np.uint8 else "gray16le", 3: "rgb24"}
            frame = av.VideoFrame.from_ndarray(values, format=kinds[values.ndim])
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return written.getvalue()


def lossless(shown: NDArray[Any], suffix: str, **settings: Any) -> bytes:
    """Return frames (frames, rows, columns, 3) as a video from which each value comes back."""
    container, encoder, pixels, options = LOSSLESS[suffix]
    settings = {"encoder": encoder, "pixels": pixels, "options": options, **settings}
    return video(shown, container=container, **settings)


def written(path: Path, shown: NDArray[Any]) -> Path:
    """Write frames in colours, or grey ones in three equal colours, by the suffix of ``path``."""
    coloured = shown if shown.ndim == 4 else np.repeat(shown[..., None], 3, axis=-1)
    path.write_bytes(lossless(coloured, path.suffix))
    return path


def read(path: Path, data: bytes, **settings: Any) -> NDArray[Any]:
    """Return the frames that are read of a file with these bytes; grey is asked for."""
    path.write_bytes(data)
    return videos.read(path, **{"is_colour": False, **settings}).pixels


def of_two_sizes(first: NDArray[Any], second: NDArray[Any]) -> bytes:
    """Return a video of two JPEG pictures."""
    packets = []
    for shown in (first, second):
        with av.open(io.BytesIO(video([shown], encoder="mjpeg", pixels="yuvj420p"))) as file:
            packets += [bytes(packet) for packet in file.demux(video=0) if packet.size]
    made = io.BytesIO()
    with av.open(made, "w", format="matroska") as file:
        stream: Any = file.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = *first.shape[:2], "yuvj420p"
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = stream.time_base or Fraction(1, 10)
            packet.is_keyframe = True
            file.mux(packet)
    return made.getvalue()


def elsewhere(data: bytes, path: str) -> bytes:
    """Return a MOV whose frames are said to lie in another file (QuickTime alias)."""
    name = path.encode()
    alias = bytearray(150) + struct.pack(">HH", 2, len(name)) + name + b"\0" * (len(name) % 2)
    alias += struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    changed = bytearray(data)
    place = data.index(b"url ", data.index(b"dref")) - 4
    for around in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = data.rindex(around, 0, place) - 4
        size = struct.unpack_from(">I", data, start)[0]
        struct.pack_into(">I", changed, start, size + len(entry) - 12)
    changed[place : place + 12] = entry
    return bytes(changed)
