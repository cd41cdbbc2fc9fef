"""Every file gets a verdict; nothing a file holds or is can end a scan."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    UID,
    BasicTextSRStorage,
    ExplicitVRLittleEndian,
    SegmentationStorage,
)

from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import SourceRefused
from pipeline.dicom.scan import scan
from pipeline.reasons import Reason
from tests.data import shared
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.sources import archives


def _bytes_of(dataset: Dataset, folder: Path) -> bytes:
    path = folder / "made.dcm"
    dcmwrite(path, dataset, enforce_file_format=True)
    data = path.read_bytes()
    path.unlink()
    return data


def _changed(**values: object) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        dataset = series.instance(0)
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return _bytes_of(dataset, folder)

    return make


def _raw(keyword: str, vr: str, value: bytes) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        dataset = series.instance(0)
        series.put_raw(dataset, keyword, vr, value)
        return _bytes_of(dataset, folder)

    return make


def _syntax(uid: str, *, encapsulated: bool = True) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        one = series.instance(0)
        if encapsulated:
            one.PixelData = encapsulate([one.PixelData])
            one["PixelData"].VR = "OB"
        one.file_meta.TransferSyntaxUID = UID(MPEG2MPML)
        if not encapsulated:
            one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = _bytes_of(one, folder)
        old = one.file_meta.TransferSyntaxUID.encode()
        old += b"\0" * (len(old) % 2)
        assert data.count(old) == 1
        return data.replace(old, uid.encode().ljust(len(old), b"\0"))

    return make


def _cut(count: int) -> Callable[[Path], bytes]:
    return lambda folder: _bytes_of(series.instance(0), folder)[:-count]


def _nested(folder: Path) -> bytes:
    """5000 sequences inside each other, each of undefined length."""
    data = _bytes_of(series.instance(0), folder)
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    place = data.index(b"\x10\x00\x10\x00PN")
    return data[:place] + opening * 5000 + closing * 5000 + data[place:]


FILES: dict[str, tuple[Callable[[Path], bytes], Reason]] = {
    "sound": (_changed(), Reason.OK),
    "empty": (lambda _folder: b"", Reason.FILE_EMPTY),
    "text": (lambda _folder: b"Modality,CT\n" * 50, Reason.FILE_NOT_DICOM),
    "short": (lambda _folder: b"\x08\x00", Reason.FILE_NOT_DICOM),
    "preamble only": (lambda _folder: bytes(128) + b"DICM", Reason.FILE_BAD_HEADER),
    "no pixels": (_changed(PixelData=None), Reason.FILE_NO_PIXELS),
    "a report": (
        _changed(SOPClassUID=BasicTextSRStorage, PixelData=None),
        Reason.FILE_NOT_IMAGE,
    ),
    "a segmentation": (_changed(SOPClassUID=SegmentationStorage), Reason.FILE_NOT_IMAGE),
    "no SOP class": (_raw("SOPClassUID", "UI", b"nonsense"), Reason.FILE_BAD_HEADER),
    "pixels cut off": (_cut(5), Reason.FILE_TRUNCATED),
    "header cut off": (_cut(300), Reason.FILE_TRUNCATED),
    "pixels too long": (_changed(PixelData=bytes(500)), Reason.PIXELS_LENGTH_MISMATCH),
    "pixels too short": (_changed(PixelData=bytes(10)), Reason.PIXELS_LENGTH_MISMATCH),
    "zero rows": (_changed(Rows=0), Reason.FILE_BAD_HEADER),
    "no rows": (_changed(Rows=None), Reason.FILE_BAD_HEADER),
    "zero frames": (_changed(NumberOfFrames=0), Reason.FILE_BAD_HEADER),
    "two billion frames": (_changed(NumberOfFrames=2**31 - 1), Reason.PIXELS_TOO_LARGE),
    "rows as UL": (_raw("Rows", "UL", b"\xff\xff\xff\x7f"), Reason.FILE_BAD_HEADER),
    "12 bits allocated": (_changed(BitsAllocated=12), Reason.PIXELS_UNSUPPORTED),
    "a path as UID": (_raw("SOPInstanceUID", "UI", b"../../x"), Reason.FILE_UID_INVALID),
    "a UID of 65 characters": (
        _raw("SeriesInstanceUID", "UI", b"1." * 32 + b"1"),
        Reason.FILE_UID_INVALID,
    ),
    "no study": (_changed(StudyInstanceUID=None), Reason.FILE_UID_INVALID),
    "an unknown transfer syntax": (_syntax("1.2.840.10008.9.9.9.9.9"), Reason.FILE_TRANSFER_SYNTAX),
    "video": (_syntax("1.2.840.10008.1.2.4.100"), Reason.FILE_TRANSFER_SYNTAX),
    "compressed by name only": (
        _syntax("1.2.840.10008.1.2.5", encapsulated=False),
        Reason.FILE_BAD_HEADER,
    ),
    "nested": (_nested, Reason.FILE_TOO_NESTED),
}


@pytest.mark.parametrize(("make", "reason"), FILES.values(), ids=FILES.keys())
def test_a_file_gets_its_verdict(
    tmp_path: Path, make: Callable[[Path], bytes], reason: Reason
) -> None:
    (tmp_path / "file.dcm").write_bytes(make(tmp_path))
    (file,) = series.scanned(tmp_path).files
    assert (file.path, file.verdict) == ("file.dcm", reason)
    assert (file.detail is None) == (reason is Reason.OK)
    assert "Canary" not in (file.detail or "")


def test_what_is_no_regular_file_is_named_and_not_opened(tmp_path: Path) -> None:
    series.write(tmp_path / "real", series.stack())
    (tmp_path / "link.dcm").symlink_to(tmp_path / "real" / "0001.dcm")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        report = series.scanned(tmp_path)
    verdicts = {file.path: file.verdict for file in report.files}
    assert {verdicts[name] for name in ("link.dcm", "folder", "pipe", "s")} == {
        Reason.FILE_NOT_REGULAR
    }
    assert sum(verdict is Reason.OK for verdict in verdicts.values()) == 5


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.dcm", os.O_CREAT | os.O_WRONLY))
    (file,) = series.scanned(tmp_path).files
    assert (file.path, file.verdict) == ("\\xff.dcm", Reason.FILE_UNREADABLE)


def test_a_deflated_bomb_is_refused_before_it_inflates(tmp_path: Path) -> None:
    one = series.instance(0)
    one.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    one.Rows = one.Columns = 4096
    one.PixelData = bytes(2 * 4096 * 4096)
    folder = series.write(tmp_path, [one])
    limits = HeaderLimits(inflated_bytes=2**20)
    with scan(folder, on_progress=lambda _done: None, limits=limits) as report:
        (file,) = report.files()
    assert file.verdict is Reason.PIXELS_TOO_LARGE


def test_a_copy_is_kept_once_and_a_re_encoding_too(tmp_path: Path) -> None:
    series.write(tmp_path / "a", series.stack())
    series.write(tmp_path / "b", series.stack())
    report = series.scanned(tmp_path)
    verdicts = {file.path: file.verdict for file in report.files}
    assert all(verdicts[f"a/{name:04d}.dcm"] is Reason.OK for name in range(1, 6))
    assert all(verdicts[f"b/{name:04d}.dcm"] is Reason.FILE_DUPLICATE for name in range(1, 6))
    assert [s.verdict for s in report.studies[0].series] == [Reason.OK]


def test_two_contents_under_one_uid_are_both_refused(tmp_path: Path) -> None:
    series.write(tmp_path / "a", series.stack())
    other = series.instance(2)
    other.PixelData = bytes(len(other.PixelData))
    series.write(tmp_path / "b", [other])
    report = series.scanned(tmp_path)
    refused = [f.path for f in report.files if f.verdict is Reason.FILE_DUPLICATE]
    assert refused == ["a/0003.dcm", "b/0001.dcm"]
    assert report.studies[0].series[0].verdict is Reason.SERIES_MISSING_SLICE


def test_one_file_is_a_source_too(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack(1))
    (file,) = series.scanned(folder / "0001.dcm").files
    assert (file.path, file.verdict) == ("0001.dcm", Reason.OK)


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused) as refused:
        series.scanned(tmp_path / "nothing")
    assert refused.value.reason is Reason.SOURCE_MISSING


def test_an_archive_in_a_folder_is_a_file_that_says_what_it_is(tmp_path: Path) -> None:
    folder = series.write(tmp_path / "in", series.stack(2))
    archives.zipped(folder / "a.zip", [("x", b"1")])
    archives.tarred(folder / "b.tar", [("x", b"1")])
    (folder / "c.tgz").write_bytes(b"\x1f\x8b" + bytes(600))
    found = {file.path: file for file in series.scanned(folder).files}
    for name, kind in (("a.zip", "ZIP"), ("b.tar", "TAR"), ("c.tgz", "gzip")):
        assert found[name].verdict is Reason.FILE_NOT_DICOM
        assert f"archive ({kind})" in (found[name].detail or "")


def test_sources_without_images_say_so(tmp_path: Path) -> None:
    assert series.scanned(tmp_path).refusal == (Reason.SOURCE_EMPTY, "the source holds no files")
    (tmp_path / "notes.txt").write_text("no images here")
    refusal = series.scanned(tmp_path).refusal
    assert refusal is not None
    assert refusal[0] is Reason.SOURCE_NO_DICOM


def test_progress_ends_at_the_number_of_files(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack(70))
    seen: list[int] = []
    scan(folder, on_progress=seen.append, processes=2).close()
    assert seen == sorted(seen)
    assert seen[-1] == 70


def test_two_scans_say_the_same(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack(20))
    found = []
    for processes in (1, 3):
        with scan(folder, on_progress=lambda _n: None, processes=processes) as report:
            found.append(series.whole(report))
    one, other = found
    assert one.files == other.files
    assert [s.attributes for s in one.studies[0].series] == [
        s.attributes for s in other.studies[0].series
    ]


def test_attributes_hold_nothing_of_the_patient(tmp_path: Path) -> None:
    indexed = series.only_series(series.write(tmp_path, series.stack()))
    assert "Canary" not in repr(indexed)
    assert "P1" not in repr(indexed)


def test_every_file_that_pydicom_ships_gets_a_defined_verdict() -> None:
    report = series.scanned(Path(pydicom.__file__).parent / "data")
    assert len(report.files) > 200
    verdicts = {Path(file.path).name: file.verdict for file in report.files}
    expected = {
        "DICOMDIR": Reason.FILE_MEDIA_DIRECTORY,
        "test-SR.dcm": Reason.FILE_NOT_IMAGE,
        "rtplan.dcm": Reason.FILE_NOT_IMAGE,
        "waveform_ecg.dcm": Reason.FILE_NOT_IMAGE,
        "rtplan_truncated.dcm": Reason.FILE_TRUNCATED,
        "MR_truncated.dcm": Reason.FILE_TRUNCATED,
        "no_meta.dcm": Reason.FILE_NOT_DICOM,
        "CT_small.dcm": Reason.OK,
        "image_dfl.dcm": Reason.OK,
    }
    assert {name: verdicts[name] for name in expected} == expected


def test_a_real_mixed_study_is_sorted_out() -> None:
    report = series.scanned(shared("dicom", "ct_phantom_philips_mixed"))
    (study,) = report.studies
    found = [(s.kind, s.verdict, len(s.instances)) for s in study.series]
    assert found == [
        ("image", Reason.SERIES_LOCALIZER, 1),
        ("volume", Reason.OK, 6),
        ("volume", Reason.SERIES_LOCALIZER, 3),
        *[("image", Reason.OK, 1)] * 3,
    ]
