"""Enhanced multi-frame objects from the file to the volume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from pipeline.dicom.reading import read
from pipeline.dicom.series.grouping import IndexedSeries
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason
from pipeline.volume import Volume
from tests.data import shared
from tests.pipeline.dicom import made_series
from tests.pipeline.dicom.series import made_frames as made


def _series(folder: Path) -> tuple[IndexedSeries, ...]:
    (study,) = made_series.scanned(folder).studies
    return study.series


def _volume(folder: Path, series: IndexedSeries, **policies: Any) -> Volume:
    volume = read(made_series.files_of(folder, series), policies=Policies(**policies))
    assert isinstance(volume, Volume)
    return volume


def _only(folder: Path, **policies: Any) -> Volume:
    (series,) = _series(folder)
    return _volume(folder, series, **policies)


def _refusal(folder: Path, series: IndexedSeries) -> Reason:
    with pytest.raises(StudyRejected) as refused:
        _volume(folder, series)
    return refused.value.reason


def _phase(count: int, first: int, macro: str, **attributes: Any) -> list[made.Place]:
    return made.line(count, first=first, macros={macro: attributes})


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_frames_in_any_order_make_the_volume_of_their_positions(
    tmp_path: Path, modality: str
) -> None:
    places = made.shuffled(made.line(6), 5)
    volume = _only(made.write(tmp_path, made.enhanced(places, modality=modality)))
    np.testing.assert_array_equal(volume.stored, made.values(6))
    assert volume.spacing == pytest.approx((5.0, 2.0, 0.5))
    np.testing.assert_allclose(volume.to_patient(np.array([2.0, 3.0, 4.0])), [12, 26, 40])
    assert volume.header is not None
    frames = [one.frame for one in volume.header.instances]
    assert frames == [1 + [p.value for p in places].index(number) for number in range(6)]
    assert [one.position for one in volume.header.instances][1] == (10.0, 20.0, 35.0)


def test_highdicom_reads_the_same_volume(tmp_path: Path) -> None:
    normal = np.cross([0.6, 0.8, 0], [0, 0, -1.0])
    places = [
        made.Place(value=n, position=tuple(np.array([1.0, 2.0, 3.0]) + 2.5 * n * normal))
        for n in (3, 0, 4, 1, 2)
    ]
    dataset = made.enhanced(places, orientation=(0.6, 0.8, 0, 0, 0, -1.0))
    ours = _only(made.write(tmp_path, dataset))
    theirs = highdicom.imread(next(tmp_path.iterdir())).get_volume(apply_real_world_transform=False)
    aligned = theirs.match_geometry(
        highdicom.VolumeGeometry(
            ours.affine, spatial_shape=ours.stored.shape, coordinate_system="PATIENT"
        )
    )
    np.testing.assert_allclose(aligned.array, ours.values())


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_frames_are_picked_one_by_one(tmp_path: Path, syntax: str) -> None:
    macro = "FrameContentSequence"
    later = _phase(4, 4, macro, TemporalPositionIndex=1)
    places = [*later[::-1], *_phase(4, 0, macro, TemporalPositionIndex=2)]
    dataset = made.enhanced(places)
    dataset.compress(syntax, generate_instance_uid=False)
    folder = made.write(tmp_path, dataset)
    read_back = [_volume(folder, one).stored for one in _series(folder)]
    np.testing.assert_array_equal(
        np.concatenate(read_back), np.r_[made.values(8)[4:], made.values(4)]
    )


@pytest.mark.parametrize(
    ("macro", "one", "other"),
    [
        ("MREchoSequence", {"EffectiveEchoTime": 2.4}, {"EffectiveEchoTime": 4.8}),
        ("MRDiffusionSequence", {"DiffusionBValue": 0.0}, {"DiffusionBValue": 900.0}),
        (
            "FrameContentSequence",
            {"TemporalPositionIndex": 1},
            {"TemporalPositionIndex": 2},
        ),
        (
            "CardiacSynchronizationSequence",
            {"NominalPercentageOfCardiacPhase": 0.0},
            {"NominalPercentageOfCardiacPhase": 50.0},
        ),
        (
            "UnassignedPerFrameConvertedAttributesSequence",
            {"TriggerTime": 0},
            {"TriggerTime": 40},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_phases_of_one_instance_become_volumes_of_their_own(
    tmp_path: Path, macro: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    places = [*_phase(4, 0, macro, **one), *_phase(4, 4, macro, **other)]
    folder = made.write(tmp_path, made.enhanced(made.shuffled(places, 2), modality="MR"))
    series = _series(folder)
    assert [(s.part, s.frame_part, s.verdict, s.kind) for s in series] == [
        (0, 0, Reason.OK, "volume"),
        (1, 1, Reason.OK, "volume"),
    ]
    assert series[1].attributes["frame_part"] == 1
    assert series[1].attributes["sop_instance_uid"] == series[1].instances[0].sop_instance_uid
    assert "frame_part" not in series[0].attributes
    assert series[0].attributes["phase_count"] == 2
    found = sorted((_volume(folder, s).stored for s in series), key=lambda v: int(v[0, 0, 0]))
    np.testing.assert_array_equal(np.concatenate(found), made.values(8))


def test_stacks_of_other_orientation_are_parts(tmp_path: Path) -> None:
    turned = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    other = [
        made.Place(value=10 + n, position=(-3.0 * n, 0.0, 0.0), orientation=turned)
        for n in range(5)
    ]
    folder = made.write(tmp_path, made.enhanced([*made.line(4), *other]))
    assert [(s.attributes["orientation"], len(s.frames)) for s in _series(folder)] == [
        ("sagittal", 5),
        ("axial", 4),
    ]


def test_magnitude_and_phase_are_not_one_image(tmp_path: Path) -> None:
    macro = "MRImageFrameTypeSequence"
    places = [
        *_phase(3, 0, macro, ComplexImageComponent="MAGNITUDE"),
        *_phase(3, 3, macro, ComplexImageComponent="PHASE"),
    ]
    folder = made.write(tmp_path, made.enhanced(places, modality="MR"))
    assert [len(s.frames) for s in _series(folder)] == [3, 3]


REFUSED = {
    "a missing frame": (
        [p for p in made.line(6) if p.value != 3],
        Reason.SERIES_MISSING_SLICE,
    ),
    "a frame twice": ([*made.line(5), *made.line(3)[2:]], Reason.SERIES_DUPLICATE_POSITION),
    "a tilt": (
        made.line(5, orientation=(1, 0, 0, 0, math.cos(0.35), -math.sin(0.35))),
        Reason.SERIES_GANTRY_TILT,
    ),
    "two frames": (made.line(2), Reason.SERIES_TOO_FEW_SLICES),
    "a slope that is none": (
        [*made.line(4), made.Place(value=4, position=(10, 20, 50), slope="1e308")],
        Reason.PIXELS_RESCALE_NOT_FINITE,
    ),
    "a localizer": (
        made.line(4, frame_type=("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE")),
        Reason.SERIES_LOCALIZER,
    ),
}


@pytest.mark.parametrize("value", [b"NaN", b"inf", b"1,5", b"abc", b"0", b""])
def test_a_slope_of_one_frame_that_is_none_refuses_the_part(tmp_path: Path, value: bytes) -> None:
    places = [*made.line(4), made.Place(value=4, position=(10, 20, 50), slope="1")]
    dataset = made.enhanced(places)
    (transform,) = dataset.PerFrameFunctionalGroupsSequence[4].PixelValueTransformationSequence
    made_series.put_raw(transform, "RescaleSlope", "DS", value)
    (series,) = _series(made.write(tmp_path, dataset))
    assert series.verdict is Reason.PIXELS_RESCALE_NOT_FINITE


@pytest.mark.parametrize(("places", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_the_rules_of_classic_slices_hold_for_frames(
    tmp_path: Path, places: list[made.Place], reason: Reason
) -> None:
    folder = made.write(tmp_path, made.enhanced(places))
    (series,) = _series(folder)
    assert (series.kind, series.verdict) == ("volume", reason)
    assert _refusal(folder, series) is reason


def test_policies_hold_for_frames(tmp_path: Path) -> None:
    places = [p for p in made.line(9) if p.value != 4]
    volume = _only(made.write(tmp_path, made.enhanced(places)), missing_slice="resample")
    between = (made_series.pixels(3).astype(float) + made_series.pixels(5)) / 2
    np.testing.assert_array_equal(volume.stored[4], between)
    restored = volume.on_source(volume.stored)
    np.testing.assert_array_equal(restored, np.delete(made.values(9), 4, axis=0))


def test_an_aborted_object_keeps_its_whole_volumes_where_the_policy_says_so(
    tmp_path: Path,
) -> None:
    macro = "FrameContentSequence"
    places = [p for t in (1, 2, 3) for p in _phase(4, 4 * t, macro, TemporalPositionIndex=t)]
    folder = made.write(tmp_path, made.enhanced(places[:-1], modality="MR"))
    series = _series(folder)
    assert [s.verdict for s in series] == [
        Reason.SERIES_PARTIAL_PHASE,
        Reason.SERIES_PARTIAL_PHASE,
        Reason.SERIES_TOO_FEW_SLICES,
    ]
    assert _refusal(folder, series[0]) is Reason.SERIES_PARTIAL_PHASE
    volume = _volume(folder, series[0], partial_phase="whole")
    assert any("phases" in warning for warning in volume.warnings)


def test_rescale_that_differs_by_frame_is_applied_by_frame(tmp_path: Path) -> None:
    places = [
        made.Place(value=n, position=(10, 20, 30 + 5.0 * n), slope=str(n + 1), intercept="-5")
        for n in (2, 0, 1, 3)
    ]
    volume = _only(made.write(tmp_path, made.enhanced(places)))
    expected = made.values(4) * np.arange(1.0, 5.0)[:, None, None] - 5
    np.testing.assert_allclose(volume.values(), expected)
    assert volume.unit == ""


def test_two_instances_are_never_put_together(tmp_path: Path) -> None:
    halves = [made.enhanced(made.line(6)[:3]), made.enhanced(made.line(6)[3:], number=1)]
    series = _series(made.write(tmp_path, *halves))
    assert [(len(s.frames), s.frame_part, s.verdict) for s in series] == [(3, 0, Reason.OK)] * 2


def test_a_piece_of_a_concatenation_is_refused_by_name(tmp_path: Path) -> None:
    dataset = made.enhanced(made.line(4))
    dataset.ConcatenationUID = "1.2.3"
    (series,) = _series(made.write(tmp_path, dataset))
    assert series.verdict is Reason.SERIES_UNSUPPORTED
    assert "concatenation" in (series.detail or "")


def test_a_group_too_few_refuses_the_file(tmp_path: Path) -> None:
    dataset = made.enhanced(made.line(4))
    del dataset.PerFrameFunctionalGroupsSequence[2]
    report = made_series.scanned(made.write(tmp_path, dataset))
    assert [file.verdict for file in report.files] == [Reason.FILE_BAD_HEADER]


def test_single_frames_of_an_enhanced_class_are_slices_of_their_series(tmp_path: Path) -> None:
    datasets = [made.enhanced([place], number=place.value) for place in made.line(5)]
    volume = _only(made.write(tmp_path, *datasets))
    np.testing.assert_array_equal(volume.stored, made.values(5))
    assert volume.header is not None
    assert {one.frame for one in volume.header.instances} == {None}


def test_a_converted_object_is_the_volume_of_its_slices(tmp_path: Path) -> None:
    classic = made_series.stack(5)
    converted = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        classic[::-1],
        series_instance_uid="1.2.3.1.2",
        series_number=3,
        sop_instance_uid="1.2.3.1.2.1",
        instance_number=1,
    )
    expected = made_series.read_volume(made_series.write(tmp_path / "classic", classic))
    volume = _only(made.write(tmp_path / "converted", _plain(converted)))
    np.testing.assert_array_equal(volume.values(), expected.values())
    np.testing.assert_allclose(volume.affine, expected.affine)
    assert volume.unit == expected.unit == "HU"


def _plain(dataset: Dataset) -> Dataset:
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def test_real_enhanced_objects_get_their_verdicts() -> None:
    folder = shared("dicom", "enhanced_multiframe")
    verdicts = {
        s.instances[0].path: (s.kind, s.verdict)
        for study in made_series.scanned(folder).studies
        for s in study.series
    }
    assert verdicts["eCT_Supplemental.dcm"] == ("volume", Reason.SERIES_TOO_FEW_SLICES)
    # their functional groups were taken out when they were made small
    assert {v for name, v in verdicts.items() if name.startswith("emri")} == {
        ("image", Reason.SERIES_GEOMETRY_INVALID)
    }


def test_a_cine_loop_under_a_single_frame_class_is_an_image() -> None:
    folder = shared("dicom", "mr_cardiac_cine")
    (series,) = _series(folder)
    assert (series.kind, series.verdict, series.attributes["frames"]) == ("image", Reason.OK, 16)
    image = read(made_series.files_of(folder, series), as_image=True)
    stored = dcmread(folder / "multiframe-test1.dcm").pixel_array
    np.testing.assert_array_equal(image.pixels, stored)  # type: ignore[union-attr]
