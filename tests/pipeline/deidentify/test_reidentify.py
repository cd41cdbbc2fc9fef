"""The way back: results of a copy under the names of the originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.deidentify.identity_map import IdentityMap, MapRefused, read_map
from pipeline.deidentify.keys import KeyRefused, make_key, read_key
from pipeline.deidentify.profile import Option
from pipeline.deidentify.reidentify import reidentify
from pipeline.dicom.writing.seg import write_seg
from tests.pipeline.deidentify.copies import KEY, OTHER_KEY, copied_folder, items, method
from tests.pipeline.dicom import made_series, segs


def _nothing(_count: int) -> None:
    """Take no notice."""


def _segmented(folder: Path, results: Path) -> bytes:
    """Segment the series of a folder."""
    volume = made_series.read_volume(folder)
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[1:3, 2:4, 3:5] = 1
    results.mkdir()
    written = write_seg(volume, mask, [segs.segment(1)], segs.PROVENANCE)
    (results / "seg.dcm").write_bytes(written)
    return written


def _series(folder: Path) -> Path:
    stack = made_series.stack(4)
    for one in stack:
        one.StudyDate, one.AccessionNumber, one.PatientBirthDate = "20210304", "A-17", "19500101"
        one.PatientName, one.SpecificCharacterSet = "Müller^Jürgen", "ISO_IR 100"
    return made_series.write(folder, stack)


def test_a_result_made_on_a_copy_gets_back_who_it_is_of(tmp_path: Path) -> None:
    source = _series(tmp_path / "in")
    identities = IdentityMap(has_moved_dates=True)
    how = method(Option.MODIFIED_DATES)
    copied_folder(source, tmp_path / "copy", how, identities=identities)
    identities.write(tmp_path / "map", KEY)
    _segmented(tmp_path / "copy", tmp_path / "results")
    known = read_map(tmp_path / "map", KEY)
    report = reidentify(str(tmp_path / "results"), tmp_path / "back", known, KEY, _nothing)
    assert report.counts == {"ok": 1}
    (path,) = (tmp_path / "back").rglob("*.dcm")
    seg, original = dcmread(path), dcmread(source / "0001.dcm")
    assert seg.StudyInstanceUID == original.StudyInstanceUID
    assert seg.FrameOfReferenceUID == original.FrameOfReferenceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == original.SeriesInstanceUID
    slices = {dcmread(one).SOPInstanceUID for one in source.glob("*.dcm")}
    named = {item.ReferencedSOPInstanceUID for item in items(seg) if "1.1.2" in _class(item)[-6:]}
    assert named
    assert named <= slices
    assert (str(seg.PatientName), seg.PatientID) == ("Müller^Jürgen", "P1")
    assert (seg.StudyDate, seg.AccessionNumber) == ("20210304", "A-17")
    assert seg.PatientBirthDate == "19500101"
    assert "PatientIdentityRemoved" not in seg
    made = dcmread(tmp_path / "results" / "seg.dcm")
    assert seg.SOPInstanceUID == made.SOPInstanceUID
    assert np.array_equal(seg.pixel_array, made.pixel_array)


def test_results_of_originals_carry_original_uids_without_any_map(tmp_path: Path) -> None:
    source = _series(tmp_path / "in")
    _segmented(source, tmp_path / "results")
    seg, original = dcmread(tmp_path / "results" / "seg.dcm"), dcmread(source / "0001.dcm")
    assert seg.StudyInstanceUID == original.StudyInstanceUID
    assert seg.PatientID == original.PatientID
    report = reidentify(str(tmp_path / "results"), tmp_path / "o", IdentityMap(), KEY, _nothing)
    assert report.counts == {"deidentify.not_in_map": 1}


def test_a_map_opens_with_its_own_key_only_and_shows_a_changed_byte(tmp_path: Path) -> None:
    path = tmp_path / "map"
    IdentityMap().write(path, KEY)
    with pytest.raises(MapRefused):
        read_map(path, OTHER_KEY)
    sealed = bytearray(path.read_bytes())
    sealed[-1] ^= 1
    path.write_bytes(sealed)
    with pytest.raises(MapRefused):
        read_map(path, KEY)
    path.write_bytes(b"something else")
    with pytest.raises(MapRefused):
        read_map(path, KEY)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "key"
    make_key(path)
    first = read_key(path)
    make_key(path)
    assert read_key(path).fingerprint == first.fingerprint
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(KeyRefused):
        read_key(path)
    path.chmod(0o600)
    path.write_text("too short")
    with pytest.raises(KeyRefused):
        read_key(path)


def _class(item: object) -> str:
    return str(getattr(item, "ReferencedSOPClassUID", ""))
