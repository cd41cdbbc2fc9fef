"""What a copy keeps: references, intervals, geometry, pixels, validity."""

from __future__ import annotations

import collections
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import data as pydicom_data
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipeline.deidentify import dates, values
from pipeline.deidentify.profile import Option, OptionsContradict, rules
from pipeline.deidentify.run import FolderTaken
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.writing.seg import write_seg
from tests.data import shared
from tests.pipeline.deidentify.copies import (
    KEY,
    OTHER_KEY,
    copied,
    copied_file,
    copied_folder,
    items,
    method,
)
from tests.pipeline.dicom import made_series, segs

PYDICOMS = Path(pydicom_data.__file__).parent / "test_files"
NOW_VALID = re.compile(r"<[^>]*>|\d+")


def test_one_key_gives_one_series_and_another_key_gives_nothing_in_common(tmp_path: Path) -> None:
    source = made_series.write(tmp_path / "in", made_series.stack(4))
    copied_folder(source, tmp_path / "a", method())
    copied_folder(source, tmp_path / "b", method())
    copied_folder(source, tmp_path / "c", method(key=OTHER_KEY))
    first, second, third = (_read(tmp_path / name) for name in "abc")
    assert [_uids(one) for one in first] == [_uids(one) for one in second]
    assert len({one.SeriesInstanceUID for one in first}) == 1
    assert len({one.SOPInstanceUID for one in first}) == 4
    assert not set().union(*map(_uids, first)) & set().union(*map(_uids, third))
    assert first[0].PatientID != third[0].PatientID
    originals = {str(uid) for one in _read(source) for uid in _uids(one)}
    assert not originals & set().union(*map(_uids, first))


def test_a_segmentation_refers_to_the_copies_of_its_slices(tmp_path: Path) -> None:
    source = made_series.write(tmp_path / "in", made_series.stack(4))
    volume = made_series.read_volume(source)
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[1:3, 2:4, 3:5] = 1
    (source / "seg.dcm").write_bytes(write_seg(volume, mask, [segs.segment(1)], segs.PROVENANCE))
    report = copied_folder(source, tmp_path / "out", method())
    assert report.counts == {"ok": 5}
    copies = _read(tmp_path / "out")
    (seg,) = [one for one in copies if one.Modality == "SEG"]
    slices = {one.SOPInstanceUID for one in copies if one.Modality == "CT"}
    named = {item.ReferencedSOPInstanceUID for item in items(seg) if _refers(item)}
    assert named
    assert named <= slices
    assert {one.StudyInstanceUID for one in copies} == {seg.StudyInstanceUID}
    assert {one.FrameOfReferenceUID for one in copies} == {seg.FrameOfReferenceUID}
    (segment,) = seg.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "SCT"
    assert np.array_equal(seg.pixel_array, dcmread(source / "seg.dcm").pixel_array)


def test_dates_move_together_and_keep_their_intervals(tmp_path: Path) -> None:
    first, second = made_series.instance(0), made_series.instance(1)
    first.StudyDate, second.StudyDate = "20200228", "20200306"
    first.AcquisitionDateTime = "20200228235959.123456+0100"
    first.StudyTime, first.PatientBirthDate = "101112.5", "19500101"
    one = copied(first, tmp_path / "1", Option.MODIFIED_DATES)
    two = copied(second, tmp_path / "2", Option.MODIFIED_DATES)
    shift = KEY.shift("id\0P1\0")
    assert -3653 < shift <= -365
    assert one.StudyDate == dates.shifted_date("20200228", shift)
    assert _day(two.StudyDate) - _day(one.StudyDate) == 7
    assert one.AcquisitionDateTime[:8] == one.StudyDate
    assert one.AcquisitionDateTime[8:] == "235959.123456+0100"
    assert one.StudyTime == "101112.5"
    assert not one.PatientBirthDate
    assert one.LongitudinalTemporalInformationModified == "MODIFIED"
    kept = copied(first, tmp_path / "3", Option.FULL_DATES)
    assert (kept.StudyDate, kept.LongitudinalTemporalInformationModified) == (
        "20200228",
        "UNMODIFIED",
    )
    gone = copied(first, tmp_path / "4")
    assert not gone.StudyDate
    assert gone.LongitudinalTemporalInformationModified == "REMOVED"
    with pytest.raises(OptionsContradict):
        rules(frozenset({Option.FULL_DATES, Option.MODIFIED_DATES}))


def test_options_keep_what_they_name_and_the_copy_says_which_were_used(tmp_path: Path) -> None:
    dataset = made_series.instance(0)
    dataset.PatientAge, dataset.PatientWeight, dataset.PatientSex = "061Y", "72.5", "F"
    dataset.DeviceSerialNumber, dataset.StationName = "SN-99", "CT7"
    dataset.InstitutionName = "St. Elsewhere"
    dataset.StudyDescription = "CT chest Canary 03.04.2020 with contrast 555-12345678"
    plain = copied(dataset, tmp_path / "1")
    assert "PatientAge" not in plain
    assert (plain.get("DeviceSerialNumber"), plain.get("InstitutionName")) == (
        values.REMOVED,
        values.REMOVED,
    )
    assert "StudyDescription" not in plain
    assert plain.PatientIdentityRemoved == "YES"
    assert [one.CodeValue for one in plain.DeidentificationMethodCodeSequence] == ["113100"]
    wanted = (
        *(Option.PATIENT_CHARACTERISTICS, Option.DEVICE_IDENTITY, Option.INSTITUTION_IDENTITY),
        Option.CLEAN_DESCRIPTORS,
    )
    # the institution's own name is a word that identifies, unless institutions may be named
    kept = copied(dataset, tmp_path / "2", *wanted)
    assert (kept.PatientAge, kept.PatientWeight, kept.PatientSex) == ("061Y", 72.5, "F")
    assert kept.DeviceSerialNumber == "SN-99"
    assert kept.InstitutionName == "St. Elsewhere"
    assert kept.StudyDescription == "CT chest with contrast"
    codes = {one.CodeValue for one in kept.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113105", "113108", "113109", "113112"}


def test_safe_private_elements_stay_only_under_their_option_and_their_vr(tmp_path: Path) -> None:
    dataset = made_series.instance(0)
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 0.25)
    block.add_new(0x0F, "LO", "anything")
    other = dataset.private_block(0x2005, "SOMEBODY", create=True)
    other.add_new(0x0E, "FL", 0.5)
    assert not [e for e in copied(dataset, tmp_path / "1") if e.tag.is_private]
    copy = copied(dataset, tmp_path / "2", Option.SAFE_PRIVATE)
    left = [e.value for e in copy if e.tag.is_private]
    assert left == ["Philips MR Imaging DD 001", 0.25]


def test_geometry_and_pixels_read_the_same_by_our_own_reader(tmp_path: Path) -> None:
    source = made_series.write(tmp_path / "in", made_series.stack(5))
    copied_folder(source, tmp_path / "out", method())
    before, after = made_series.read_volume(source), made_series.read_volume(tmp_path / "out")
    assert np.array_equal(before.stored, after.stored)
    assert np.allclose(before.affine, after.affine, atol=0)
    assert (before.slope, before.intercept, before.unit) == (
        after.slope,
        after.intercept,
        after.unit,
    )


def test_a_second_run_writes_nothing_and_finds_the_same(tmp_path: Path) -> None:
    source = made_series.write(tmp_path / "in", made_series.stack(4))
    first = copied_folder(source, tmp_path / "out", method())
    before = _digests(tmp_path / "out")
    again = copied_folder(source, tmp_path / "out", method(), processes=1)
    assert (first.kept, again.kept) == (0, 4)
    assert first.verdicts == again.verdicts
    assert _digests(tmp_path / "out") == before
    with pytest.raises(FolderTaken):
        copied_folder(source, tmp_path / "out", method(Option.UIDS))
    with pytest.raises(FolderTaken):
        copied_folder(source, tmp_path / "out", method(key=OTHER_KEY))


def test_of_two_files_of_one_instance_that_differ_neither_is_copied(tmp_path: Path) -> None:
    stack = made_series.stack(3)
    twin = made_series.instance(0)
    twin.ImagePositionPatient = [0.0, 0.0, 99.0]
    source = made_series.write(tmp_path / "in", [*stack, twin])
    shutil.copy(source / "0002.dcm", source / "copy.dcm")
    for _ in range(2):
        report = copied_folder(source, tmp_path / "out", method())
        assert report.counts == {"file.duplicate": 3, "ok": 2}
        assert len(_read(tmp_path / "out")) == 2


def test_the_test_files_of_pydicom_all_get_a_verdict(tmp_path: Path) -> None:
    files = [path for path in sorted(PYDICOMS.rglob("*")) if path.is_file()]
    everything = tmp_path / "in"
    everything.mkdir()
    for number, path in enumerate(files):
        shutil.copy(path, everything / f"{number:04d}")
    options = (Option.CLEAN_STRUCTURED_CONTENT, Option.MODIFIED_DATES)
    report = copied_folder(everything, tmp_path / "out", method(*options))
    assert len(report.verdicts) == len(files)
    assert report.counts["ok"] > 50
    assert "pixels.decoder_died" not in report.counts
    assert report.counts["ok"] == len(_read(tmp_path / "out"))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize(
    "options",
    [
        (Option.CLEAN_STRUCTURED_CONTENT,),
        (
            *(Option.CLEAN_STRUCTURED_CONTENT, Option.MODIFIED_DATES, Option.CLEAN_DESCRIPTORS),
            *(Option.PATIENT_CHARACTERISTICS, Option.DEVICE_IDENTITY, Option.UIDS),
        ),
    ],
    ids=["basic", "options"],
)
def test_copies_are_as_valid_as_their_sources(options: tuple[Option, ...], tmp_path: Path) -> None:
    found = sorted(path for path in PYDICOMS.rglob("*.dcm") if path.stat().st_size < 200_000)
    files = found[::2]
    looked_at = 0
    for path in files:
        try:
            copy = copied_file(path, method(*options), tmp_path / "copy.dcm")
        except (FileRefused, ValueError, TypeError, AttributeError, KeyError):
            continue  # what cannot be read has its own tests
        looked_at += 1
        assert not _errors(copy) - _errors(path), path.name
    assert looked_at >= 10


def test_every_file_of_the_shared_data_gets_a_verdict(tmp_path: Path) -> None:
    source = shared("dicom", "odd_files_a")
    report = copied_folder(source, tmp_path / "out", method())
    assert len(report.verdicts) == sum(1 for path in source.rglob("*") if path.is_file())


def _errors(path: Path) -> collections.Counter[str]:
    done = subprocess.run(
        [str(shutil.which("dciodvfy")), "-new", str(path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return collections.Counter(NOW_VALID.sub("#", line) for line in lines if line[:5] == "Error")


def _read(folder: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


def _uids(dataset: Dataset) -> set[str]:
    return {
        str(element.value)
        for item in items(dataset)
        for element in item
        if element.VR == "UI" and not values.is_well_known(str(element.value))
    }


def _refers(item: Dataset) -> bool:
    return str(item.get("ReferencedSOPClassUID", "")).endswith("1.1.2")


def _day(text: str) -> int:
    return (
        np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}", "D") - np.datetime64(0, "D")
    ).astype(int)


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
