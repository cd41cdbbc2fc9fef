"""Whatever bytes a header holds, the answer is a header or a verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.uid import ImplicitVRLittleEndian

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import read_header
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.series import assembly
from pipeline.dicom.series.rescaling import rescale
from pipeline.dicom.series.splitting import split
from pipeline.dicom.sources.folder import RegularFile
from pipeline.errors import StudyRejected
from tests.pipeline.dicom import made_series as series

_LIMITS = HeaderLimits(pixels=2**24)
_SLOW = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@functools.cache
def _sound(*, implicit: bool) -> bytes:
    one = series.instance(0)
    if implicit:
        one.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, one, enforce_file_format=True)
    return buffer.getvalue()


def _read(path: Path, data: bytes) -> InstanceHeader | FileRefused:
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the child process, where pydicom is mute
        try:
            with RegularFile(path) as file:
                return read_header(file, name="x", limits=_LIMITS)
        except FileRefused as refused:
            return refused


_CHANGES = st.lists(
    st.tuples(st.integers(120, 1100), st.binary(min_size=1, max_size=6)), min_size=1, max_size=8
)


@_SLOW
@given(changes=_CHANGES, implicit=st.booleans())
def test_changed_bytes_never_escape(
    tmp_path: Path, changes: list[tuple[int, bytes]], *, implicit: bool
) -> None:
    data = bytearray(_sound(implicit=implicit))
    for place, new in changes:
        data[place : place + len(new)] = new
    answer = _read(tmp_path / "x", bytes(data))
    assert isinstance(answer, InstanceHeader) or answer.sentence


@_SLOW
@given(end=st.integers(0, 1100), tail=st.binary(max_size=40))
def test_cut_files_are_refused(tmp_path: Path, end: int, tail: bytes) -> None:
    data = _sound(implicit=False)
    answer = _read(tmp_path / "x", data[: min(end, len(data) - 100)] + tail)
    assert isinstance(answer, FileRefused)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=600))
def test_noise_after_a_preamble_never_escapes(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    assert isinstance(_read(path, bytes(128) + b"DICM" + data), FileRefused)


_NUMBER = st.floats(-1e12, 1e12) | st.just(math.nan) | st.sampled_from([0.0, 1.0, -1.0, 5.0])


def _vector(count: int) -> st.SearchStrategy[tuple[float, ...] | None]:
    return st.none() | st.tuples(*[_NUMBER] * count)


@settings(max_examples=100, deadline=None)
@given(
    slices=st.lists(
        st.fixed_dictionaries(
            {
                "position": _vector(3),
                "orientation": _vector(6) | st.just((1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
                "pixel_spacing": _vector(2) | st.just((1.0, 2.0)),
                "slope": st.none() | _NUMBER,
                "intercept": st.none() | _NUMBER,
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_geometry_gives_a_stack_or_a_reason(slices: list[dict[str, object]]) -> None:
    plain = _header()
    headers = [
        dataclasses.replace(plain, sop_instance_uid=f"1.{number}", **facts)  # type: ignore[arg-type]
        for number, facts in enumerate(slices)
    ]
    parts = split(headers)
    assert sorted(f.header.sop_instance_uid for part in parts for f in part.frames) == sorted(
        h.sop_instance_uid for h in headers
    )
    for part in parts:
        with contextlib.suppress(StudyRejected):
            assert min(assembly.stack(part.frames).spacing) > 0
        with contextlib.suppress(StudyRejected):
            assert np.isfinite(rescale(part.frames).slopes).all()


@functools.cache
def _header() -> InstanceHeader:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        answer = _read(Path(folder) / "x", _sound(implicit=False))
    assert isinstance(answer, InstanceHeader)
    return answer
