"""The child process that decodes one series: headers checked again, voxels into shared memory.

Everything here runs on untrusted bytes, some of it in decoders written in C, so it runs in a
process of its own that may die. What it answers is JSON: its parent never unpickles from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import gc
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.kept import KeptHeaders
from pipeline.dicom.headers.reading import HeaderReader
from pipeline.dicom.limits import DecodeLimits, HeaderLimits
from pipeline.dicom.pixels.described import source_of
from pipeline.dicom.pixels.memory import Target, shared_array
from pipeline.dicom.pixels.parallel import WorkerRefused, share
from pipeline.dicom.pixels.scaling import VALUES, layout_of, scale_of
from pipeline.dicom.pixels.stored import Frames
from pipeline.dicom.pixels.voxels import Grey, Share, ends_of, fill_colour
from pipeline.dicom.pixels.warm import read_once
from pipeline.dicom.processes import allow_open_files, confine, quieten
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.series import assembly
from pipeline.dicom.series.frames import Frame
from pipeline.dicom.series.kinds import check_kind
from pipeline.dicom.series.regridding import regrid
from pipeline.dicom.series.splitting import has_scattered_frames_of_reference, part_of
from pipeline.dicom.sources.opening import open_source
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to read: the files of one part of one series."""

    source: str
    names: tuple[str, ...]
    frame_part: int
    #: of a scan, for ``KeptHeaders``
    headers: bytes | None
    study_instance_uid: str
    series_instance_uid: str
    as_image: bool
    policies: Policies
    limits: DecodeLimits


def serve(connection: Connection, size: int) -> None:
    """Receive an anonymous file of ``size`` bytes and one order; fill it, answer, and end."""
    quieten()
    allow_open_files()
    gc.disable()  # it would touch, and so copy, every page that is shared with the server
    try:
        target = Target(reduction.recv_handle(connection), size)
        read_once()
        order: Order = connection.recv()
    except (EOFError, ConnectionError):
        return  # whoever asked has gone
    target.keep_within(order.limits.memory_bytes)
    memory_bytes = order.limits.memory_bytes - target.size
    confine(memory_bytes=memory_bytes, seconds=order.limits.seconds)
    try:
        answer = _image(order, target) if order.as_image else _volume(order, target)
    except WorkerRefused as refused:
        answer = refused.answer
    except Exception as error:  # noqa: BLE001 - the edge of the process; see _refusal
        answer = _refusal(error)
    with contextlib.suppress(BrokenPipeError):
        connection.send_bytes(json.dumps(answer).encode())


def _refusal(error: Exception) -> dict[str, Any]:
    """Return the answer for whatever untrusted bytes have raised; it quotes none of them."""
    if isinstance(error, StudyRejected):
        # A file that cannot be opened is the disk's or the network's fault: worth another attempt.
        kind = "failed" if error.reason is Reason.FILE_UNREADABLE else "rejected"
        return {kind: error.reason.value, "sentence": error.sentence}
    if isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    ):
        sentence = "decoding needs more memory than one read may take"
        return {"rejected": Reason.PIXELS_TOO_LARGE.value, "sentence": sentence}
    if isinstance(error, OSError):
        sentence = f"a file of the series cannot be read: {os.strerror(error.errno or 0)}"
        return {"failed": Reason.FILE_UNREADABLE.value, "sentence": sentence}
    sentence = f"reading the series failed ({type(error).__name__})"
    return {"failed": Reason.RUN_ERROR.value, "sentence": sentence}


def _headers(order: Order, reader: Frames) -> tuple[InstanceHeader, ...]:
    limits = HeaderLimits(pixels=order.limits.pixels, inflated_bytes=order.limits.memory_bytes)
    header_reader, kept = HeaderReader(limits), KeptHeaders.unpack(order.headers)
    headers = []
    for name in order.names:
        with reader.opened(name) as file:
            headers.append(kept.of(file, name, limits) or header_reader.read(file, name))
    expected = (order.study_instance_uid, order.series_instance_uid)
    if any((h.study_instance_uid, h.series_instance_uid) != expected for h in headers):
        sentence = "a file belongs to another series than it did when the source was scanned"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    if len({h.sop_instance_uid for h in headers}) != len(headers):
        sentence = "two files of the series share a SOPInstanceUID"
        raise FileRefused(sentence, Reason.FILE_DUPLICATE)
    return tuple(headers)


def _volume(order: Order, target: Target) -> dict[str, Any]:
    reader = Frames(open_source(order.source))
    part = part_of(_headers(order, reader), order.frame_part)
    _check_slices(part.frames)
    incomplete = part.phase.check(order.policies)
    stack = assembly.stack(part.frames, policies=order.policies)
    slices = [part.frames[i] for i in stack.order]
    scale = scale_of(slices, reader, order.policies)
    layout = layout_of(slices, scale)
    shape = (len(slices), slices[0].header.rows, slices[0].header.columns)
    _check_count(max(math.prod(shape), math.prod(stack.shape)), order.limits)
    grid = target.array(stack.shape, layout.dtype)
    out = grid if stack.regridding is None else shared_array(shape, layout.dtype)
    describe = functools.cache(lambda: source_of(reader, slices, is_whole=False))
    grey = Grey(reader=reader, slices=slices, scale=scale, layout=layout, out=out)
    found = grey.fill(_share(order), describe)
    source, dropped = describe()
    if stack.regridding is not None:
        regrid(out, stack.regridding, grid, slope=layout.slope)
    way, told = stack.regridding, [*incomplete, *stack.warnings, *_stated(slices)]
    if not layout.is_stored:
        told.append("its slices share no one integer format and rescale; kept as float32")
    return {
        "dtype": layout.dtype.str,
        "shape": stack.shape,
        "affine": stack.affine.tolist(),
        "slope": layout.slope,
        "intercept": layout.intercept,
        "unit": scale.unit,
        "regridding": None if way is None else dataclasses.asdict(way),
        "warnings": [*told, *scale.warnings, *found, *dropped],
        **source,
    }


def _image(order: Order, target: Target) -> dict[str, Any]:
    reader = Frames(open_source(order.source))
    headers = _headers(order, reader)
    if len(headers) != 1:
        sentence = f"an image is read from one instance, not from {len(headers)}"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    part = part_of(headers, order.frame_part)
    frame, header = part.frames[0], headers[0]
    check_kind(frame)
    frames = list(part.frames)
    if not part.is_of_one_instance:
        frames = [dataclasses.replace(frame, number=number) for number in range(header.frames)]
    shape = (len(frames), header.rows, header.columns) + ((3,) if header.is_colour else ())
    _check_count(math.prod(shape), order.limits)
    unit, found = "", [] if frame.spacing else ["no valid pixel spacing is stated"]
    if header.is_colour:
        dtype = np.dtype(np.uint8)
        found += fill_colour(reader, frames, target.array(shape, dtype), _share(order))
    else:
        dtype, scale = VALUES.dtype, scale_of(frames, reader, order.policies)
        out, unit = target.array(shape, dtype), scale.unit
        is_inverted = header.photometric == "MONOCHROME1"
        ends = ends_of(header, scale) if is_inverted else None
        grey = Grey(reader=reader, slices=frames, scale=scale, layout=VALUES, out=out, ends=ends)
        found += [*scale.warnings, *grey.fill(_share(order))]
        if is_inverted:
            found.append("MONOCHROME1: inverted so that larger is brighter")
    source, dropped = source_of(reader, frames[:1], is_whole=len(frames) == header.frames)
    return {
        "dtype": dtype.str,
        "shape": shape,
        "spacing": frame.spacing,
        "unit": unit,
        "warnings": [*found, *dropped],
        **source,
    }


def _share(order: Order) -> Share:
    return functools.partial(share, limits=order.limits, refusal=_refusal)


def _check_slices(frames: Sequence[Frame]) -> None:
    for frame in frames:
        check_kind(frame)
    if not all(frame.is_slice for frame in frames):
        sentence = "colour or multi-frame images are no slices of a volume"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)


def _check_count(count: int, limits: DecodeLimits) -> None:
    if count > limits.pixels:
        sentence = f"{count} voxels are more than the {limits.pixels} allowed"
        raise StudyRejected(sentence, Reason.PIXELS_TOO_LARGE)


def _stated(frames: Sequence[Frame]) -> list[str]:
    """Return what a caller should know of a volume's headers."""
    first, warnings = frames[0].header, []
    if first.frames == 1 and has_scattered_frames_of_reference(f.header for f in frames):
        warnings.append("every slice states a FrameOfReferenceUID of its own; taken as one")
    if first.photometric == "MONOCHROME1":
        warnings.append("MONOCHROME1: larger values are darker")
    return warnings
