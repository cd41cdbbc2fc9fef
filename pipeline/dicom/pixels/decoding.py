"""The child process that decodes one series: headers checked again, voxels into shared memory.

Everything here runs on untrusted bytes, some of it in decoders written in C, so it runs in a
process of its own that may die. What it answers is JSON: its parent never unpickles from it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import json
import math
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import read_header
from pipeline.dicom.limits import DecodeLimits, HeaderLimits
from pipeline.dicom.pixels import voxels
from pipeline.dicom.pixels.memory import Target
from pipeline.dicom.processes import confine
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.series import assembly
from pipeline.dicom.series.frames import Frame, frames_of
from pipeline.dicom.series.kinds import check_kind
from pipeline.dicom.series.regridding import regrid
from pipeline.dicom.series.rescaling import rescale
from pipeline.dicom.series.splitting import has_scattered_frames_of_reference, part_of
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import Source
from pipeline.dicom.writing.template import encode_template
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to read: the files of one part of one series."""

    source: str
    names: tuple[str, ...]
    frame_part: int
    study_instance_uid: str
    series_instance_uid: str
    as_image: bool
    policies: Policies
    limits: DecodeLimits


def serve(connection: Connection, size: int) -> None:
    """Receive an anonymous file of ``size`` bytes and one order; fill it, answer, and end."""
    # Ctrl-C reaches the whole process group; the parent decides what becomes of a read.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        target = Target(reduction.recv_handle(connection), size)
        order: Order = connection.recv()
    except (EOFError, ConnectionError):
        return  # whoever asked has gone
    target.keep_within(order.limits.memory_bytes)
    memory_bytes = order.limits.memory_bytes - target.size
    confine(memory_bytes=memory_bytes, seconds=order.limits.seconds)
    try:
        answer = _answer(order, target)
    except Exception as error:  # noqa: BLE001
        # The edge of the process: a traceback may quote the header, so only its kind goes on.
        sentence = f"reading the series failed ({type(error).__name__})"
        answer = {"failed": Reason.RUN_ERROR.value, "sentence": sentence}
    with contextlib.suppress(BrokenPipeError):
        connection.send_bytes(json.dumps(answer).encode())


def _answer(order: Order, target: Target) -> dict[str, Any]:
    try:
        headers = _headers(order)
        return _image(headers, order, target) if order.as_image else _volume(headers, order, target)
    except StudyRejected as rejected:
        # A file that cannot be opened is the disk's or the network's fault: worth another attempt.
        kind = "failed" if rejected.reason is Reason.FILE_UNREADABLE else "rejected"
        return {kind: rejected.reason.value, "sentence": rejected.sentence}
    except (MemoryError, OSError) as error:
        if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
            sentence = f"decoding needs more than {order.limits.memory_bytes} bytes of memory"
            return {"rejected": Reason.PIXELS_TOO_LARGE.value, "sentence": sentence}
        sentence = f"a file of the series cannot be read: {os.strerror(error.errno or 0)}"
        return {"failed": Reason.FILE_UNREADABLE.value, "sentence": sentence}


def _headers(order: Order) -> tuple[InstanceHeader, ...]:
    limits = HeaderLimits(pixels=order.limits.pixels, inflated_bytes=order.limits.memory_bytes)
    source = open_source(order.source)
    headers = tuple(_header(source, name, limits) for name in order.names)
    expected = (order.study_instance_uid, order.series_instance_uid)
    if any((h.study_instance_uid, h.series_instance_uid) != expected for h in headers):
        sentence = "a file belongs to another series than it did when the source was scanned"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    if len({h.sop_instance_uid for h in headers}) != len(headers):
        sentence = "two files of the series share a SOPInstanceUID"
        raise FileRefused(sentence, Reason.FILE_DUPLICATE)
    return headers


def _header(source: Source, name: str, limits: HeaderLimits) -> InstanceHeader:
    with source.open(name) as file:
        return read_header(file, name=name, limits=limits)


def _volume(headers: Sequence[InstanceHeader], order: Order, target: Target) -> dict[str, Any]:
    part = part_of(headers, order.frame_part)
    _check_slices(part.frames)
    incomplete = part.phase.check(order.policies)
    stack = assembly.stack(part.frames, policies=order.policies)
    slices = [part.frames[i] for i in stack.order]
    scale = rescale(slices)
    _check_count(math.prod(stack.shape), order.limits)
    layout = voxels.layout_of(slices, scale)
    mapped = target.mapped(stack.shape, layout.dtype)
    out = np.frombuffer(mapped, layout.dtype, math.prod(stack.shape)).reshape(stack.shape)
    way = stack.regridding
    stored = out if way is None else np.empty(way.shape, layout.dtype)
    found = voxels.fill_volume(open_source(order.source), slices, scale, layout, stored)
    if way is not None:
        regrid(stored, way, out, slope=layout.slope)
    del out, stored
    template, dropped = encode_template(open_source(order.source), slices[0].header.path)
    return {
        "dtype": layout.dtype.str,
        "shape": stack.shape,
        "affine": stack.affine.tolist(),
        "slope": layout.slope,
        "intercept": layout.intercept,
        "unit": _unit(slices[0]),
        "regridding": None if way is None else dataclasses.asdict(way),
        "template": base64.b64encode(template).decode(),
        "warnings": [*incomplete, *stack.warnings, *_warnings(slices), *found, *dropped],
        **_source(slices),
    }


def _image(headers: Sequence[InstanceHeader], order: Order, target: Target) -> dict[str, Any]:
    if len(headers) != 1:
        sentence = f"an image is read from one instance, not from {len(headers)}"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    header, frame = headers[0], frames_of(headers[0])[0]
    check_kind(frame)
    scale = rescale([frame])
    _check_count(header.rows * header.columns * header.frames * header.samples, order.limits)
    dtype = np.dtype(np.uint8 if header.is_colour else np.float32)
    shape = (header.frames, header.rows, header.columns) + ((3,) if header.is_colour else ())
    mapped = target.mapped(shape, dtype)
    found = voxels.fill_image(open_source(order.source), header, scale, mapped, shape)
    template, dropped = encode_template(open_source(order.source), header.path)
    return {
        "dtype": dtype.str,
        "shape": shape,
        "spacing": frame.spacing,
        "unit": "" if header.is_colour else _unit(frame),
        "template": base64.b64encode(template).decode(),
        "warnings": [*_warnings([frame]), *found, *dropped],
        **_source([frame]),
    }


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


def _unit(frame: Frame) -> str:
    is_hounsfield = frame.header.modality == "CT" and frame.rescale_type in ("", "HU")
    return "HU" if is_hounsfield else ""


def _warnings(frames: Sequence[Frame]) -> list[str]:
    first = frames[0].header
    warnings = []
    if first.frames == 1 and has_scattered_frames_of_reference(f.header for f in frames):
        warnings.append("every slice states a FrameOfReferenceUID of its own; taken as one")
    if first.padding is not None:
        warnings.append(f"pixels outside the image hold the padding value {first.padding}")
    if first.photometric == "MONOCHROME1":
        warnings.append("MONOCHROME1: stored so that larger is darker")
    if frames[0].position is None and frames[0].spacing is None:
        warnings.append("no valid pixel spacing is stated")
    return warnings


def _source(frames: Sequence[Frame]) -> dict[str, Any]:
    frame, first = frames[0], frames[0].header
    # an image is made of all frames of its instance, a slice of one
    is_frame = frame.is_slice and first.frames > 1
    return {
        "study_instance_uid": first.study_instance_uid,
        "series_instance_uid": first.series_instance_uid,
        "frame_of_reference_uid": first.frame_of_reference_uid,
        "modality": first.modality,
        "orientation": _finite(frame.orientation),
        "pixel_spacing": frame.spacing,
        "instances": [
            {
                "sop_class_uid": f.header.sop_class_uid,
                "sop_instance_uid": f.header.sop_instance_uid,
                "instance_number": f.header.instance_number,
                "position": _finite(f.position),
                "frames": f.header.frames,
                "frame": f.number + 1 if is_frame else None,
            }
            for f in frames
        ],
    }


def _finite(numbers: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if numbers is None or not all(math.isfinite(value) for value in numbers):
        return None
    return numbers
