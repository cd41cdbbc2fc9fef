"""A read that is given the headers of the scan reads what it would read without them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.dicom.headers.kept import keep
from pipeline.dicom.limits import DecodeLimits
from pipeline.dicom.reading import SeriesFiles, read
from pipeline.dicom.scan import scan
from pipeline.dicom.series.grouping import IndexedSeries
from pipeline.dicom.sources.folder import RegularFile
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Volume
from tests.pipeline.dicom import made_series as series

#: by this clock, files of now have been at rest for long
LATER = time.time_ns() + 10**15


def indexed(folder: Path, now: int = LATER, index: Path | None = None) -> SeriesFiles:
    """Scan the one series of a source, with what the scan keeps of its headers."""
    with scan(folder, on_progress=lambda _: None, processes=1, now=now, index=index) as report:
        ((one,),) = (study.series for study in report.studies())
        files = series.files_of(folder, one)
        return dataclasses.replace(files, headers=report.headers_of(one))


def forged(folder: Path, one: IndexedSeries) -> SeriesFiles:
    """Headers that state another rescale than their files, so that a volume tells its own."""
    headers = [dataclasses.replace(header, intercept=-7.0) for header in one.instances]
    stamps = {}
    for header in headers:
        with RegularFile(folder / header.path) as file:
            stamps[header.path] = file.stamp
    return dataclasses.replace(series.files_of(folder, one), headers=keep(headers, stamps))


def volume_of(files: SeriesFiles) -> Volume:
    volume = read(files)
    assert isinstance(volume, Volume)
    return volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return series.write(tmp_path / "source", series.stack())


def test_a_volume_read_with_kept_headers_is_the_same(folder: Path) -> None:
    files = indexed(folder)
    assert files.headers is not None
    kept, parsed = volume_of(files), volume_of(dataclasses.replace(files, headers=None))
    np.testing.assert_array_equal(kept.stored, parsed.stored)
    np.testing.assert_array_equal(kept.affine, parsed.affine)
    assert (kept.intercept, kept.header) == (parsed.intercept, parsed.header)


def test_kept_headers_are_used_until_their_files_change(folder: Path) -> None:
    files = forged(folder, series.only_series(folder))
    assert volume_of(files).intercept == -7.0
    for path in folder.iterdir():
        os.utime(path)
    assert volume_of(files).intercept == -1024.0


def _other_content(folder: Path) -> None:
    """As large as before, and as old by the time that can be set: slices change their places."""
    for number, path in enumerate(sorted(folder.iterdir())):
        status = path.stat()
        series.write(folder.parent / "one", [series.instance(number)])
        shutil.copyfile(folder.parent / "one" / "0001.dcm", path)
        assert path.stat().st_size == status.st_size
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _names_exchanged(folder: Path) -> None:
    """Each file keeps its content and its times, and has the name of another."""
    first, *_, last = sorted(folder.iterdir())
    first.rename(folder / "aside")
    last.rename(first)
    (folder / "aside").rename(last)


def _another_size(folder: Path) -> None:
    slices = [series.instance(number, position=(1.0, 2.0, 3.0 * number)) for number in range(5)]
    for one in slices:
        one.ImageComments = "longer than it was"
    series.write(folder, slices)


def _one_of_them(folder: Path) -> None:
    """One slice is moved, so that the distances differ."""
    slices = series.stack()
    slices[2] = series.instance(2, position=(10.0, 20.0, 41.0))
    path = sorted(folder.iterdir())[2]
    status = path.stat()
    series.write(folder.parent / "one", [slices[2]])
    shutil.copyfile(folder.parent / "one" / "0001.dcm", path)
    assert path.stat().st_size == status.st_size


def _of_another_series(folder: Path) -> None:
    other = series.instance(2)
    other.SeriesInstanceUID = f"{series.SERIES[:-1]}2"
    series.write(folder.parent / "one", [other])
    shutil.copyfile(folder.parent / "one" / "0001.dcm", sorted(folder.iterdir())[2])


def _a_copy_of_another(folder: Path) -> None:
    first, second, *_ = sorted(folder.iterdir())
    shutil.copyfile(first, second)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_other_content, None),
        (_names_exchanged, None),
        (_another_size, None),
        (_one_of_them, Reason.SERIES_GEOMETRY_INVALID),
        (_of_another_series, Reason.FILE_BAD_HEADER),
        (_a_copy_of_another, Reason.FILE_DUPLICATE),
    ],
)
def test_files_that_changed_after_the_scan_are_read_as_they_are(
    folder: Path, change: Callable[[Path], None], reason: Reason | None
) -> None:
    files = indexed(folder)
    before = volume_of(files)
    change(folder)
    fresh = dataclasses.replace(files, headers=None)
    if reason is None:
        now, expected = volume_of(files), volume_of(fresh)
        np.testing.assert_array_equal(now.stored, expected.stored)
        np.testing.assert_array_equal(now.affine, expected.affine)
        assert (now.header, now.intercept) == (expected.header, before.intercept)
        return
    for changed in (files, fresh):
        with pytest.raises(StudyRejected) as refused:
            volume_of(changed)
        assert refused.value.reason is reason


def test_the_limits_of_a_read_hold_for_kept_headers(folder: Path) -> None:
    files = indexed(folder)
    told = []
    for one in (files, dataclasses.replace(files, headers=None)):
        with pytest.raises(StudyRejected) as refused:
            read(one, limits=DecodeLimits(pixels=47))
        told.append((refused.value.reason, refused.value.sentence))
    assert told == [(Reason.PIXELS_TOO_LARGE, "48 pixel values are more than the 47 allowed")] * 2


def test_files_that_may_have_changed_while_they_were_scanned_are_not_kept(folder: Path) -> None:
    for now in (0, time.time_ns() - 10**9):
        assert indexed(folder, now).headers is None
    assert indexed(folder).headers is not None


def test_a_scan_that_goes_on_counts_from_its_beginning(folder: Path, tmp_path: Path) -> None:
    assert indexed(folder, time.time_ns() - 10**9, tmp_path / "index").headers is None
    assert indexed(folder, LATER, tmp_path / "index").headers is None


def test_of_an_archive_nothing_is_kept(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    assert indexed(tmp_path / "export.zip").headers is None
