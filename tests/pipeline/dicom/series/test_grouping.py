from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.series.grouping import IndexedSeries, index
from pipeline.reasons import Reason
from tests.data import shared
from tests.pipeline.dicom import made_series
from tests.pipeline.dicom.series import made_frames as made


def _series(headers: list[InstanceHeader], **lost: Any) -> tuple[IndexedSeries, ...]:
    (study,) = index(headers, **lost)
    return study.series


def test_a_volume_says_what_rules_may_ask() -> None:
    (one,) = _series(made.shuffled(made.headers(5), 1))
    assert (one.kind, one.verdict, one.frame_part) == ("volume", Reason.OK, 0)
    assert [h.instance_number for h in one.instances] == [1, 2, 3, 4, 5]
    assert [f.header for f in one.frames] == list(one.instances)
    asked = {k: one.attributes[k] for k in ("slices", "frames", "spacing_mm", "orientation")}
    assert asked == {
        "slices": 5,
        "frames": 1,
        "spacing_mm": [5.0, 2.0, 0.5],
        "orientation": "axial",
    }
    assert one.attributes["phase_count"] == 1


@pytest.mark.parametrize(
    ("orientation", "name"),
    [
        ((1, 0, 0, 0, 1, 0), "axial"),
        ((-1, 0, 0, 0, -1, 0), "axial"),
        ((0, 1, 0, 0, 0, -1), "sagittal"),
        ((1, 0, 0, 0, 0, -1), "coronal"),
        ((1, 0, 0, 0, math.cos(0.3), -math.sin(0.3)), "axial"),
        ((1, 0, 0, 0, math.cos(0.7), -math.sin(0.7)), "oblique"),
    ],
)
def test_planes_are_named_by_their_normal(orientation: tuple[float, ...], name: str) -> None:
    assert _series([made.header(0, orientation=orientation)])[0].attributes["orientation"] == name


def test_the_planes_of_an_animal_on_four_legs_have_no_human_names() -> None:
    (one,) = _series(made.headers(5, is_quadruped=True))
    assert (one.verdict, one.attributes["orientation"]) == (Reason.OK, None)
    assert one.attributes["spacing_mm"] == [5.0, 2.0, 0.5]


def test_a_series_that_a_policy_could_read_says_its_spacing() -> None:
    turned = (1.0, 0.0, 0.0, 0.0, math.cos(0.3), -math.sin(0.3))
    (tilted,) = _series(made.headers(5, orientation=turned))
    assert tilted.verdict is Reason.SERIES_GANTRY_TILT
    assert tilted.attributes["spacing_mm"] == [round(5 * math.cos(0.3), 4), 2.0, 0.5]
    (gap,) = _series([h for n, h in enumerate(made.headers(9)) if n != 3])
    assert (gap.verdict, gap.attributes["spacing_mm"][0]) == (Reason.SERIES_MISSING_SLICE, 5.0)
    assert len(gap.instances) == len(gap.frames) == 8


def test_what_no_policy_reads_says_no_spacing() -> None:
    (one,) = _series([*made.headers(4), made.header(4, position=None)])
    assert (one.verdict, one.attributes["spacing_mm"]) == (Reason.SERIES_GEOMETRY_INVALID, None)


def test_a_lost_file_costs_the_volume_of_slices_but_no_other_instance(tmp_path: Path) -> None:
    whole = made.header_of(tmp_path, made.enhanced(made.line(5)))
    uid = whole.series_instance_uid
    found = _series([whole, *made.headers(4)], lost={uid: Reason.FILE_TRUNCATED})
    assert [(s.verdict, len(s.frames)) for s in found] == [
        (Reason.OK, 5),
        (Reason.SERIES_MISSING_SLICE, 4),
    ]


@pytest.mark.parametrize(
    ("identities", "verdict"),
    [
        ([("P1", ""), ("P1", "HOUSE"), ("P1", "")], Reason.OK),
        ([("P1", "HOUSE"), ("P1", "HOUSE"), ("P1", "HOUSE")], Reason.OK),
        ([("P1", "HOUSE"), ("P1", ""), ("P1", "OTHER")], Reason.STUDY_MIXED_PATIENTS),
        ([("P1", "HOUSE"), ("P2", "HOUSE"), ("P1", "HOUSE")], Reason.STUDY_MIXED_PATIENTS),
        ([("P1", "HOUSE"), ("P2", ""), ("P1", "HOUSE")], Reason.STUDY_MIXED_PATIENTS),
        ([("", ""), ("P1", ""), ("P1", "")], Reason.STUDY_MIXED_PATIENTS),
    ],
)
def test_an_issuer_that_is_not_stated_makes_no_other_patient(
    tmp_path: Path, identities: list[tuple[str, str]], verdict: Reason
) -> None:
    slices = made_series.stack(3)
    for one, (known, issuer) in zip(slices, identities, strict=True):
        one.PatientID, one.IssuerOfPatientID = known, issuer
    (found,) = _series([made.header_of(tmp_path, one) for one in slices])
    assert found.verdict is verdict


def test_phases_are_counted() -> None:
    headers = [
        made.header(10 * t + n, position=(0, 0, 5.0 * n), phases=(("TriggerTime", str(40 * t)),))
        for t in range(3)
        for n in range(4)
    ]
    found = _series(headers)
    assert [s.attributes["phase_count"] for s in found] == [3, 3, 3]
    assert [s.attributes["phases"] for s in found] == [
        {"TriggerTime": "0"},
        {"TriggerTime": "40"},
        {"TriggerTime": "80"},
    ]


def test_an_aborted_series_is_refused_as_such() -> None:
    headers = [
        made.header(
            10 * t + n, position=(0, 0, 5.0 * n), phases=(("TemporalPositionIndex", str(t)),)
        )
        for t in range(3)
        for n in range(5)
    ]
    found = _series(headers[:-2])
    assert [s.verdict for s in found] == [
        Reason.SERIES_PARTIAL_PHASE,
        Reason.SERIES_PARTIAL_PHASE,
        Reason.SERIES_TOO_FEW_SLICES,
    ]
    assert found[0].attributes["spacing_mm"] == [5.0, 2.0, 0.5]


def test_an_image_of_many_frames_is_one_image() -> None:
    (one,) = _series([made.header(0, frames=16, position=None, orientation=None)])
    assert (one.kind, one.attributes["frames"], one.attributes["slices"]) == ("image", 16, 1)


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP", "HFDR", "HFDL", "FFDR", None])
def test_how_the_patient_lay_on_the_table_moves_nothing(
    tmp_path: Path, position: str | None
) -> None:
    # positions and orientations are in the patient's own axes (PS3.3 C.7.6.2.1.1)
    slices = made_series.stack(4)
    for one in slices:
        if position is not None:
            one.PatientPosition = position
    affine = made_series.read_volume(made_series.write(tmp_path, slices)).affine
    np.testing.assert_allclose(affine[:3, 3], [10, 20, 30])
    np.testing.assert_allclose(affine[:3, :3], [[0, 0, 0.5], [0, 2.0, 0], [5.0, 0, 0]])


def test_real_odd_geometries_get_their_verdicts() -> None:
    folder = shared("dicom", "odd_geometry_a")
    tilted = made_series.only_series(folder / "failing" / "gantrytilting")
    assert tilted.verdict is Reason.SERIES_GANTRY_TILT
    assert "14.0 degrees" in (tilted.detail or "")
    short = made_series.only_series(folder / "failing" / "slicecount")
    assert short.verdict is Reason.SERIES_TOO_FEW_SLICES
    sound = made_series.only_series(folder / "generic" / "compressed")
    assert (sound.verdict, sound.attributes["orientation"]) == (Reason.OK, "sagittal")
    assert sound.attributes["spacing_mm"][0] == 1.0
    colours = made_series.scanned(folder / "generic" / "rgb").studies[0].series
    assert {(s.kind, s.verdict, s.attributes["is_colour"]) for s in colours} == {
        ("image", Reason.OK, True)
    }
