"""Whatever headers say, they are grouped, and each group is a volume or refused with a reason."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dicom.headers.instance import FramePlace, InstanceHeader
from pipeline.dicom.series import assembly
from pipeline.dicom.series.grouping import index
from pipeline.dicom.series.splitting import split
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from tests.pipeline.dicom.series import made_frames as made

_ODD = st.sampled_from([math.nan, 0.0, -1.0, 1e-9, 1e12, 7.5])
_NUMBER = st.one_of(_ODD, st.integers(-3, 3).map(float))
_POSITION = st.one_of(
    st.none(),
    st.tuples(_NUMBER, _NUMBER, _NUMBER),
    st.integers(0, 5).map(lambda n: (0.0, 0.0, 5.0 * n)),
    st.integers(0, 5).map(lambda n: (0.0, 2.0 * n, 5.0 * n)),
)
_ORIENTATION = st.one_of(
    st.just(made.AXIAL),
    st.none(),
    st.tuples(*(_NUMBER for _ in range(6))),
    st.just((0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
)
_SPACING = st.one_of(st.just((2.0, 0.5)), st.none(), st.tuples(_NUMBER, _NUMBER))
_PHASES = st.dictionaries(
    st.sampled_from(["EchoNumbers", "TriggerTime", "TemporalPositionIndex", "StackID"]),
    st.sampled_from(["1", "2", "x", "nan", "inf"]),
).map(lambda told: tuple(told.items()))
_RESCALE = st.one_of(st.none(), _NUMBER)
_PLACE = st.builds(
    FramePlace,
    orientation=_ORIENTATION,
    position=_POSITION,
    pixel_spacing=_SPACING,
    slope=_RESCALE,
    intercept=_RESCALE,
    rescale_type=st.just(""),
    slice_thickness=st.none(),
    image_type=st.sampled_from([(), ("ORIGINAL",), ("LOCALIZER",)]),
    phases=_PHASES,
)
_SLICE = st.fixed_dictionaries(
    {
        "position": _POSITION,
        "orientation": _ORIENTATION,
        "pixel_spacing": _SPACING,
        "slope": _RESCALE,
        "intercept": _RESCALE,
        "phases": _PHASES,
        "instance_number": st.one_of(st.none(), st.integers(-1, 3)),
        "frame_of_reference_uid": st.sampled_from(["1.2", None]),
        "spacing_between_slices": _RESCALE,
    }
)
_MANY = st.lists(_PLACE, min_size=2, max_size=8).map(
    lambda places: {"places": tuple(places), "frames": len(places)}
)
_HEADERS = st.lists(st.one_of(_SLICE, _SLICE, _SLICE, _MANY), min_size=1, max_size=12)
_POLICIES = st.builds(
    Policies,
    missing_slice=st.sampled_from(["refuse", "longest_run", "resample"]),
    gantry_tilt=st.sampled_from(["refuse", "resample"]),
    duplicate_position=st.sampled_from(["refuse", "first"]),
    spacing_tolerance=st.sampled_from([0.001, 0.01, 0.2]),
)


def _headers(told: list[dict[str, Any]]) -> list[InstanceHeader]:
    return [made.header(number, **facts) for number, facts in enumerate(told)]


@settings(max_examples=100, deadline=None)
@given(told=_HEADERS)
def test_every_frame_is_in_one_part(told: list[dict[str, Any]]) -> None:
    headers = _headers(told)
    found = Counter(
        (f.header.sop_instance_uid, f.number) for part in split(headers) for f in part.frames
    )
    assert set(found.values()) == {1}
    assert {uid for uid, _ in found} == {h.sop_instance_uid for h in headers}
    for part in split(headers):
        if part.is_of_one_instance:
            assert len({f.header.sop_instance_uid for f in part.frames}) == 1


@settings(max_examples=100, deadline=None)
@given(told=_HEADERS, policies=_POLICIES)
def test_every_part_is_a_sound_stack_or_refused(
    told: list[dict[str, Any]], policies: Policies
) -> None:
    for part in split(_headers(told)):
        with contextlib.suppress(StudyRejected):
            stack = assembly.stack(part.frames, policies=policies)
            assert np.isfinite(stack.affine).all()
            assert min(stack.spacing) > 0
            assert len(set(stack.order)) == len(stack.order) >= 3
            way = stack.regridding
            assert way is None or way.fits(stack.shape)


@settings(max_examples=100, deadline=None)
@given(told=_HEADERS)
def test_every_study_is_indexed(told: list[dict[str, Any]]) -> None:
    headers = _headers(told)
    (study,) = index(headers)
    assert {h.sop_instance_uid for s in study.series for h in s.instances} == {
        h.sop_instance_uid for h in headers
    }
    again = index([dataclasses.replace(h) for h in reversed(headers)])
    assert [repr(s.attributes) for s in again[0].series] == [
        repr(s.attributes) for s in study.series
    ]
