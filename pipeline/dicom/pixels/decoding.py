"""The child process that decodes one series: headers checked again, voxels into shared memory.

Everything here runs on untrusted bytes, some of it in decoders written in C, so it runs in a
process of its own that may die. What it answers is JSON: its parent never unpickles from it.
"""

from __future__ import annotations

import base64
import contextlib
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
from pipeline.dicom.series.splitting import has_scattered_frames_of_reference, is_slice
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
    _check_slices(headers)
    stack = assembly.stack(headers, policies=order.policies)
    slices = [headers[i] for i in stack.order]
    rescale = assembly.rescale(slices)
    _check_count(slices, order.limits)
    layout = voxels.layout_of(slices, rescale)
    shape = (len(slices), slices[0].rows, slices[0].columns)
    mapped = target.mapped(shape, layout.dtype)
    found = voxels.fill_volume(open_source(order.source), slices, rescale, layout, mapped, shape)
    template, dropped = encode_template(open_source(order.source), slices[0].path)
    return {
        "dtype": layout.dtype.str,
        "shape": shape,
        "affine": stack.affine.tolist(),
        "slope": layout.slope,
        "intercept": layout.intercept,
        "unit": _unit(slices[0]),
        "template": base64.b64encode(template).decode(),
        "warnings": [*stack.warnings, *_warnings(slices), *found, *dropped],
        **_source(slices),
    }


def _image(headers: Sequence[InstanceHeader], order: Order, target: Target) -> dict[str, Any]:
    if len(headers) != 1:
        sentence = f"an image is read from one instance, not from {len(headers)}"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    header = headers[0]
    assembly.check_kind(header)
    rescale = assembly.rescale(headers)
    _check_count(headers, order.limits)
    dtype = np.dtype(np.uint8 if header.is_colour else np.float32)
    shape = (header.frames, header.rows, header.columns) + ((3,) if header.is_colour else ())
    mapped = target.mapped(shape, dtype)
    found = voxels.fill_image(open_source(order.source), header, rescale, mapped, shape)
    template, dropped = encode_template(open_source(order.source), header.path)
    return {
        "dtype": dtype.str,
        "shape": shape,
        "spacing": assembly.spacing_of(header),
        "unit": "" if header.is_colour else _unit(header),
        "template": base64.b64encode(template).decode(),
        "warnings": [*_warnings(headers), *found, *dropped],
        **_source(headers),
    }


def _check_slices(headers: Sequence[InstanceHeader]) -> None:
    for header in headers:
        assembly.check_kind(header)
    if not all(is_slice(header) for header in headers):
        sentence = "colour or multi-frame images are no slices of a volume"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    if len({(h.rows, h.columns) for h in headers}) > 1:
        sentence = "the slices have different numbers of rows or columns"
        raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)


def _check_count(headers: Sequence[InstanceHeader], limits: DecodeLimits) -> None:
    count = sum(h.rows * h.columns * h.frames * h.samples for h in headers)
    if count > limits.pixels:
        sentence = f"{count} voxels are more than the {limits.pixels} allowed"
        raise StudyRejected(sentence, Reason.PIXELS_TOO_LARGE)


def _unit(header: InstanceHeader) -> str:
    is_hounsfield = header.modality == "CT" and header.rescale_type in ("", "HU")
    return "HU" if is_hounsfield else ""


def _warnings(headers: Sequence[InstanceHeader]) -> list[str]:
    first = headers[0]
    warnings = []
    if has_scattered_frames_of_reference(headers):
        warnings.append("every slice states a FrameOfReferenceUID of its own; taken as one")
    if first.padding is not None:
        warnings.append(f"pixels outside the image hold the padding value {first.padding}")
    if first.photometric == "MONOCHROME1":
        warnings.append("MONOCHROME1: stored so that larger is darker")
    if not first.has_geometry and assembly.spacing_of(first) is None:
        warnings.append("no valid pixel spacing is stated")
    return warnings


def _source(headers: Sequence[InstanceHeader]) -> dict[str, Any]:
    first = headers[0]
    return {
        "study_instance_uid": first.study_instance_uid,
        "series_instance_uid": first.series_instance_uid,
        "frame_of_reference_uid": first.frame_of_reference_uid,
        "modality": first.modality,
        "instances": [
            {
                "sop_class_uid": h.sop_class_uid,
                "sop_instance_uid": h.sop_instance_uid,
                "instance_number": h.instance_number,
                "position": _finite(h.position),
                "frames": h.frames,
            }
            for h in headers
        ],
    }


def _finite(position: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if position is None or not all(math.isfinite(value) for value in position):
        return None
    return position
