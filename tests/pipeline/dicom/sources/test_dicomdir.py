"""DICOMDIR: what it refers to is found as media write it, and nothing outside is opened."""

from __future__ import annotations

from pathlib import Path

import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage, generate_uid

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.dicomdir import DicomDirectory
from pipeline.dicom.sources.dicomdir_records import file_names
from pipeline.dicom.sources.opening import open_source
from pipeline.reasons import Reason

REAL = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"


def directory(folder: Path, *names: list[str] | str, in_use: int = 0xFFFF) -> Path:
    """Write a DICOMDIR whose records refer to these files."""
    whole = Dataset()
    whole.DirectoryRecordSequence = []
    for name in names:
        record = Dataset()
        record.OffsetOfTheNextDirectoryRecord = 0
        record.RecordInUseFlag = in_use
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = name
        record.IconImageSequence = [Dataset()]
        record.IconImageSequence[0].Rows = 4
        whole.DirectoryRecordSequence.append(record)
    whole.file_meta = FileMetaDataset()
    whole.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    whole.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "DICOMDIR"
    dcmwrite(path, whole, enforce_file_format=True)
    return path


def refusals(path: Path) -> dict[str, Reason | None]:
    """Return the entries by name, each with its reason code or None."""
    return {e.name: e.refused and e.refused[0] for e in DicomDirectory(path).entries()}


#: Its last record states a length that runs past the end of the file.
BROKEN = "DICOMDIR-nooffset"
SOUND = [path for path in sorted(REAL.glob("DICOMDIR*")) if path.name != BROKEN]


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.name)
def test_real_directories_are_followed_as_pydicom_does(path: Path) -> None:
    records = dcmread(path, specific_tags=["DirectoryRecordSequence"]).DirectoryRecordSequence
    wanted = ["/".join(r.ReferencedFileID) for r in records if "ReferencedFileID" in r]
    source = open_source(str(path))
    assert isinstance(source, DicomDirectory)
    assert [entry.name for entry in source.entries()] == wanted
    for entry in source.entries():
        assert entry.refused is None
        with source.open(entry.name) as file:
            assert file.size == entry.size


def test_capitals_make_no_difference(tmp_path: Path) -> None:
    (tmp_path / "dicom" / "St1").mkdir(parents=True)
    names = ["dicom/St1/im1", "dicom/St1/Im2;1", "dicom/St1/IM3.;1"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    written = [["DICOM", "ST1", f"IM{number}"] for number in (1, 2, 3)]
    assert refusals(directory(tmp_path, *written)) == dict.fromkeys(names)


def test_a_file_as_written_comes_before_one_in_other_letters(tmp_path: Path) -> None:
    for name in ("im1", "IM1", "Im1"):
        (tmp_path / name).write_bytes(name.encode())
    assert refusals(directory(tmp_path, "IM1")) == {"IM1": None}


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    path = directory(tmp_path, "IM1", ["NO", "IM2"])
    assert refusals(path) == {"IM1": Reason.FILE_MISSING, "NO/IM2": Reason.FILE_MISSING}


@pytest.mark.parametrize(
    "name",
    [["..", "x"], ["A", "..", "..", "x"], "../x", "/etc/passwd", ["", "etc"], "C:x", ["A", "."]],
)
def test_a_reference_that_escapes_is_refused(tmp_path: Path, name: list[str] | str) -> None:
    """CVE-2026-32711."""
    (tmp_path / "x").write_text("outside")
    (tmp_path / "in" / "A").mkdir(parents=True)
    (tmp_path / "in" / "GOOD").write_text("inside")
    found = refusals(directory(tmp_path / "in", name, "GOOD"))
    assert found.pop("GOOD") is None
    assert list(found.values()) == [Reason.FILE_OUTSIDE]


def test_a_link_that_is_referred_to_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "IM2").write_text("x")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "IM1").symlink_to(tmp_path / "outside" / "IM2")
    (inside / "ST").symlink_to(tmp_path / "outside")
    path = directory(inside, "IM1", ["ST", "IM2"])
    assert set(refusals(path).values()) <= {Reason.FILE_NOT_REGULAR, Reason.FILE_UNREADABLE}
    for name in ("IM1", "ST/IM2", "../outside/IM2"):
        with pytest.raises(FileRefused):
            DicomDirectory(path).open(name)


def test_a_file_referred_to_twice_is_one_entry(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_text("x")
    assert refusals(directory(tmp_path, "IM1", "IM1")) == {"IM1": None}


def test_a_record_out_of_use_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_text("x")
    assert refusals(directory(tmp_path, "IM1", in_use=0)) == {}


def test_a_broken_directory_is_refused_as_a_whole(tmp_path: Path) -> None:
    """What it lacks cannot be known."""
    path = directory(tmp_path, "IM1", "IM2")
    path.write_bytes(path.read_bytes()[:-10])
    for broken in (path, REAL / BROKEN):
        with pytest.raises(SourceRefused) as refused:
            list(DicomDirectory(broken).entries())
        assert refused.value.reason is Reason.SOURCE_UNREADABLE


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=8))
def test_whatever_happens_to_a_directory_it_ends_in_names_or_a_refusal(
    changes: list[tuple[int, int]],
) -> None:
    data = bytearray((REAL / "DICOMDIR").read_bytes())
    for place, value in changes:
        data[132 + place % (len(data) - 132)] = value
    try:
        names = list(file_names(bytes(data)))
    except SourceRefused:
        return
    assert all(isinstance(part, bytes) for name in names for part in name)
