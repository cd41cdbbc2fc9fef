"""Cases in which the usual readers answer wrongly without an error: ours refuses and says why."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, LegacyConvertedEnhancedCTImageStorage

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series

Fault = Callable[[list[Dataset]], object]


def _tilt(slices: list[Dataset]) -> None:
    angle = math.radians(20)
    for one in slices:
        one.ImageOrientationPatient = [1, 0, 0, 0, math.cos(angle), -math.sin(angle)]


def _raw(keyword: str, value: bytes, *, only: int | None = None) -> Fault:
    def fault(slices: list[Dataset]) -> None:
        for one in slices if only is None else [slices[only]]:
            series.put_raw(one, keyword, "DS", value)

    return fault


def _move(number: int, z: float) -> Fault:
    def fault(slices: list[Dataset]) -> None:
        slices[number].ImagePositionPatient = [10, 20, z]

    return fault


def _each(keyword: str, value: object) -> Fault:
    return lambda slices: [setattr(one, keyword, value) for one in slices]


REFUSED = {
    "one slice missing": (lambda slices: slices.pop(2), Reason.SERIES_MISSING_SLICE),
    "two slices missing at one place": (
        lambda slices: (slices.pop(2), slices.pop(2)),
        Reason.SERIES_MISSING_SLICE,
    ),
    "duplicate position": (_move(3, 40.0), Reason.SERIES_DUPLICATE_POSITION),
    "a distance 4 percent off": (_move(4, 50.2), Reason.SERIES_GEOMETRY_INVALID),
    "gantry tilt": (_tilt, Reason.SERIES_GANTRY_TILT),
    "two slices": (lambda slices: slices.__delitem__(slice(2, None)), Reason.SERIES_TOO_FEW_SLICES),
    "slope NaN": (_raw("RescaleSlope", b"NaN"), Reason.PIXELS_RESCALE_NOT_FINITE),
    "slope inf": (_raw("RescaleSlope", b"inf"), Reason.PIXELS_RESCALE_NOT_FINITE),
    "slope 1e308": (_raw("RescaleSlope", b"1e308"), Reason.PIXELS_RESCALE_NOT_FINITE),
    "slope 0": (_raw("RescaleSlope", b"0"), Reason.PIXELS_RESCALE_NOT_FINITE),
    "slope text": (_raw("RescaleSlope", b"abc"), Reason.PIXELS_RESCALE_NOT_FINITE),
    "slope empty": (_raw("RescaleSlope", b""), Reason.PIXELS_RESCALE_NOT_FINITE),
    "slope NaN in one slice": (
        _raw("RescaleSlope", b"NaN", only=2),
        Reason.PIXELS_RESCALE_NOT_FINITE,
    ),
    "intercept inf": (_raw("RescaleIntercept", b"-inf"), Reason.PIXELS_RESCALE_NOT_FINITE),
    "spacing 0": (_raw("PixelSpacing", b"0\\0"), Reason.SERIES_GEOMETRY_INVALID),
    "spacing negative": (_raw("PixelSpacing", b"-1\\1"), Reason.SERIES_GEOMETRY_INVALID),
    "spacing NaN": (_raw("PixelSpacing", b"NaN\\NaN"), Reason.SERIES_GEOMETRY_INVALID),
    "spacing with commas": (_raw("PixelSpacing", b"0,5\\0,5"), Reason.SERIES_GEOMETRY_INVALID),
    "spacing of one value": (_raw("PixelSpacing", b"0.5"), Reason.SERIES_GEOMETRY_INVALID),
    "position NaN": (
        _raw("ImagePositionPatient", b"NaN\\0\\0", only=1),
        Reason.SERIES_GEOMETRY_INVALID,
    ),
    "position of two values": (
        _raw("ImagePositionPatient", b"1\\2", only=4),
        Reason.SERIES_GEOMETRY_INVALID,
    ),
    "orientation zero": (
        _raw("ImageOrientationPatient", b"0\\0\\0\\0\\0\\0"),
        Reason.SERIES_GEOMETRY_INVALID,
    ),
    "orientation not of unit length": (
        _raw("ImageOrientationPatient", b"2\\0\\0\\0\\2\\0"),
        Reason.SERIES_GEOMETRY_INVALID,
    ),
    "orientation not at right angles": (
        _raw("ImageOrientationPatient", b"1\\0\\0\\0.6\\0.8\\0"),
        Reason.SERIES_GEOMETRY_INVALID,
    ),
    "no positions": (
        lambda slices: [one.__delattr__("ImagePositionPatient") for one in slices],
        Reason.SERIES_GEOMETRY_INVALID,
    ),
    "one slice without spacing": (
        lambda slices: slices[3].__delattr__("PixelSpacing"),
        Reason.SERIES_GEOMETRY_INVALID,
    ),
    "localizers": (
        _each("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        Reason.SERIES_LOCALIZER,
    ),
    "mosaic": (_each("ImageType", ["ORIGINAL", "PRIMARY", "MOSAIC"]), Reason.SERIES_MOSAIC),
    "bits that contradict": (_each("HighBit", 14), Reason.PIXELS_UNSUPPORTED),
    "two patients in one study": (
        lambda slices: setattr(slices[1], "PatientID", "P2"),
        Reason.STUDY_MIXED_PATIENTS,
    ),
}


@pytest.mark.parametrize(("fault", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_broken_series_is_refused_with_its_reason(
    tmp_path: Path, fault: Fault, reason: Reason
) -> None:
    slices = series.stack()
    fault(slices)
    series.write(tmp_path, slices)
    indexed = series.only_series(tmp_path)
    assert (indexed.kind, indexed.verdict) == ("volume", reason)
    assert indexed.detail
    if reason is not Reason.STUDY_MIXED_PATIENTS:  # only a scan sees the whole study
        with pytest.raises(StudyRejected) as refused:
            read(series.files_of(tmp_path, indexed))
        assert refused.value.reason is reason


def test_slices_of_other_orientation_are_refused_when_read_together(tmp_path: Path) -> None:
    slices = series.stack()
    slices[0].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    folder = series.write(tmp_path, slices)
    together = SeriesFiles(
        source=str(folder),
        names=tuple(path.name for path in folder.iterdir()),
        study_instance_uid=series.STUDY,
        series_instance_uid=series.SERIES,
    )
    with pytest.raises(StudyRejected) as refused:
        read(together)
    assert refused.value.reason is Reason.SERIES_MIXED_ORIENTATION


def test_a_localizer_in_the_series_is_parted_from_its_slices(tmp_path: Path) -> None:
    slices = series.stack()
    extra = series.instance(7)
    extra.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    (study,) = series.scanned(series.write(tmp_path, [*slices, extra])).studies
    assert [(s.part, s.kind, len(s.instances)) for s in study.series] == [
        (0, "volume", 5),
        (1, "image", 1),
    ]


def test_two_series_in_one_folder_stay_two(tmp_path: Path) -> None:
    slices = series.stack(8)
    for one in slices[4:]:
        one.SeriesInstanceUID = UID(f"{series.SERIES}.99")
    (study,) = series.scanned(series.write(tmp_path, slices)).studies
    assert [(s.verdict, len(s.instances)) for s in study.series] == [(Reason.OK, 4)] * 2


def test_one_sop_instance_uid_on_all_slices_leaves_nothing_to_read(tmp_path: Path) -> None:
    slices = series.stack()
    for one in slices:
        one.SOPInstanceUID = UID("1.2.3.4")
        series.with_meta(one)
    report = series.scanned(series.write(tmp_path, slices))
    assert {file.verdict for file in report.files} == {Reason.FILE_DUPLICATE}
    assert report.refusal is not None


def test_slices_that_lose_a_neighbour_to_a_conflict_are_no_volume(tmp_path: Path) -> None:
    slices = series.stack(6)
    slices[5].SOPInstanceUID = slices[4].SOPInstanceUID
    series.with_meta(slices[5])
    assert series.only_series(series.write(tmp_path, slices)).verdict is Reason.SERIES_MISSING_SLICE


def test_a_truncated_last_slice_makes_no_shorter_volume(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack())
    last = folder / "0001.dcm"
    last.write_bytes(last.read_bytes()[:-10])
    indexed = series.only_series(folder)
    assert indexed.verdict is Reason.SERIES_MISSING_SLICE
    assert "file.truncated" in (indexed.detail or "")


def test_slices_in_two_frames_of_reference_are_not_put_together(tmp_path: Path) -> None:
    slices = series.stack(8)
    for one in slices[::2]:
        one.FrameOfReferenceUID = UID("1.2.3.10")
    (study,) = series.scanned(series.write(tmp_path, slices)).studies
    assert [len(s.instances) for s in study.series] == [4, 4]


def test_frames_of_reference_scattered_by_an_anonymiser_are_taken_as_one(tmp_path: Path) -> None:
    slices = series.stack()
    for number, one in enumerate(slices):
        one.FrameOfReferenceUID = UID(f"1.2.3.10.{number}")
    volume = series.read_volume(series.write(tmp_path, slices))
    assert volume.stored.shape == (5, series.ROWS, series.COLUMNS)
    assert any("FrameOfReferenceUID" in warning for warning in volume.warnings)


def test_enhanced_multi_frame_without_a_place_per_frame_is_refused_by_name(tmp_path: Path) -> None:
    one = series.instance(0)
    one.SOPClassUID = LegacyConvertedEnhancedCTImageStorage
    one.NumberOfFrames, one.PixelData = 2, one.PixelData * 2
    indexed = series.only_series(series.write(tmp_path, [series.with_meta(one)]))
    assert indexed.verdict is Reason.SERIES_GEOMETRY_INVALID
    assert "Legacy Converted Enhanced CT" in (indexed.detail or "")


@pytest.mark.parametrize("numbers", [[3, 1, 5, 2, 4], [1, 1, 1, 1, 1], [1, 2, None, 4, 5]])
def test_instance_numbers_do_not_order_slices(tmp_path: Path, numbers: list[int | None]) -> None:
    slices = series.stack()
    for one, number in zip(slices, numbers, strict=True):
        one.InstanceNumber = number
    volume = series.read_volume(series.write(tmp_path, slices))
    expected = np.stack([series.pixels(number) for number in range(5)])
    np.testing.assert_array_equal(volume.stored, expected)
    assert volume.spacing == pytest.approx((5.0, 2.0, 0.5))


def test_the_longest_run_is_read_where_the_policy_allows(tmp_path: Path) -> None:
    slices = series.stack(8)
    del slices[3]
    folder = series.write(tmp_path, slices)
    policies = Policies(missing_slice="longest_run")
    volume = read(series.files_of(folder, series.only_series(folder)), policies=policies)
    assert [int(plane[0, 0]) for plane in volume.stored] == [4000, 5000, 6000, 7000]  # type: ignore[union-attr]
    assert any("missing" in warning for warning in volume.warnings)
