"""The index of a scan: what is known is not read again, and any number of files fits."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.dicom import scan as scanning
from pipeline.dicom.file_index import FileIndex
from pipeline.dicom.headers.process import Answer, Refusal
from pipeline.dicom.headers.readers import HeaderReaders
from pipeline.dicom.scan import IndexBusy, scan
from pipeline.dicom.sources.source import Entry
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom import many_files

ROOT = Path(__file__).parents[3]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened from here on."""
    names: list[str] = []

    class Counting(HeaderReaders):
        def read(self, wanted: Iterable[str]) -> Iterator[tuple[str, Answer]]:
            for name, answer in super().read(wanted):
                names.append(name)
                yield name, answer

    monkeypatch.setattr(scanning, "HeaderReaders", Counting)
    return names


def _process(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.pipeline.dicom.many_files", *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )


def test_a_second_scan_reads_only_what_is_new_or_changed(tmp_path: Path, read: list[str]) -> None:
    folder, index = series.write(tmp_path / "in", series.stack(6)), tmp_path / "scan.index"
    (folder / "note").write_text("no image")
    first = series.scanned(folder, index=index)
    assert len(read) == 7
    read.clear()
    assert series.scanned(folder, index=index) == first
    assert read == []

    os.utime(folder / "0001.dcm")
    (folder / "0002.dcm").unlink()
    (folder / "new").write_text("no image either")
    again = series.scanned(folder, index=index)
    assert sorted(read) == ["0001.dcm", "new"]
    assert again.files == series.scanned(folder).files
    assert [header.path for header in again.studies[0].series[0].instances] == [
        f"{number:04d}.dcm" for number in (6, 5, 4, 3, 1)
    ]


def test_a_patient_is_the_same_to_the_scan_that_goes_on(tmp_path: Path) -> None:
    """Digests of patients are keyed; another key for the rest would be another patient."""
    folder, index = series.write(tmp_path / "in", series.stack(6)[:3]), tmp_path / "scan.index"
    series.scanned(folder, index=index)
    series.write(tmp_path / "in" / "rest", series.stack(6)[3:])
    (study,) = series.scanned(folder, index=index).studies
    assert [one.verdict for one in study.series] == [Reason.OK]


def test_a_trouble_of_the_moment_is_looked_at_again(tmp_path: Path) -> None:
    entries = [Entry(name=name, size=10, stamp="1") for name in ("unreadable", "truncated")]
    with closing(FileIndex(tmp_path / "scan.index", "key")) as index:
        assert index.unread(entries) == entries
        for entry, reason in zip(
            entries, (Reason.FILE_UNREADABLE, Reason.FILE_TRUNCATED), strict=True
        ):
            index.keep(entry, Refusal(reason=reason, sentence="as it is"))
    with closing(FileIndex(tmp_path / "scan.index", "key")) as index:
        assert index.unread(entries) == entries[:1]


def test_a_file_that_grew_is_read_again(tmp_path: Path) -> None:
    folder, index = series.write(tmp_path / "in", series.stack(1)), tmp_path / "scan.index"
    whole = (folder / "0001.dcm").read_bytes()
    (folder / "0001.dcm").write_bytes(whole[:-50])
    (file,) = series.scanned(folder, index=index).files
    assert file.verdict is Reason.FILE_TRUNCATED
    (folder / "0001.dcm").write_bytes(whole)
    (file,) = series.scanned(folder, index=index).files
    assert file.verdict is Reason.OK


def test_a_copy_that_went_away_leaves_the_other_one(tmp_path: Path) -> None:
    folder, index = tmp_path / "in", tmp_path / "scan.index"
    series.write(folder / "a", series.stack())
    series.write(folder / "b", series.stack())
    found = {f.path: f.verdict for f in series.scanned(folder, index=index).files}
    assert list(found.values()).count(Reason.FILE_DUPLICATE) == 5
    for path in (folder / "a").iterdir():
        path.unlink()
    found = {f.path: f.verdict for f in series.scanned(folder, index=index).files}
    assert set(found.values()) == {Reason.OK}


def test_an_index_made_under_other_limits_or_of_another_source_is_begun_anew(
    tmp_path: Path, read: list[str]
) -> None:
    folder, index = series.write(tmp_path / "in", series.stack(3)), tmp_path / "scan.index"
    other = series.write(tmp_path / "other", series.stack(2))
    series.scanned(folder, index=index)
    limits = scanning.HeaderLimits(pixels=10)
    with scan(folder, on_progress=lambda _n: None, index=index, limits=limits) as report:
        assert report.counts == {Reason.PIXELS_TOO_LARGE: 3}
    assert len(series.scanned(other, index=index).files) == 2
    assert len(read) == 8


def test_a_damaged_index_is_begun_anew(tmp_path: Path) -> None:
    folder, index = series.write(tmp_path / "in", series.stack(3)), tmp_path / "scan.index"
    for junk in (b"no database at all" * 400, b"SQLite format 3\0" + bytes(8000), b""):
        index.write_bytes(junk)
        assert len(series.scanned(folder, index=index).files) == 3


def test_an_index_is_for_its_owner_only_and_says_nothing_of_the_patient(tmp_path: Path) -> None:
    folder, index = series.write(tmp_path / "in", series.stack(3)), tmp_path / "scans" / "x.index"
    with scan(folder, on_progress=lambda _n: None, index=index):
        held = [path for path in index.parent.iterdir() if path.is_file()]
        assert held
        assert all(path.stat().st_mode & 0o077 == 0 for path in held)
    assert b"Canary" not in b"".join(path.read_bytes() for path in index.parent.iterdir())


def test_two_scans_do_not_share_an_index(tmp_path: Path) -> None:
    folder, index = series.write(tmp_path / "in", series.stack(3)), tmp_path / "scan.index"
    with scan(folder, on_progress=lambda _n: None, index=index), pytest.raises(IndexBusy):
        scan(folder, on_progress=lambda _n: None, index=index)


def test_a_scan_that_is_stopped_keeps_what_it_did(tmp_path: Path, read: list[str]) -> None:
    folder, index = many_files.write(tmp_path / "in", 200), tmp_path / "scan.index"

    def stop(done: int) -> None:
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(folder, on_progress=stop, index=index)
    assert 128 <= len(read) < 200
    read.clear()
    with scan(folder, on_progress=lambda _n: None, index=index) as report:
        assert report.counts == {Reason.OK: 200}
    assert len(read) <= 72


def test_a_scan_that_was_killed_goes_on_behind_what_it_noted(
    tmp_path: Path, read: list[str]
) -> None:
    folder, index = many_files.write(tmp_path / "in", 2000), tmp_path / "scan.index"
    killed = _process(folder, index, "1200")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with closing(sqlite3.connect(index)) as database:
        (noted,) = database.execute("SELECT count(*) FROM files").fetchone()
    assert 1000 <= noted < 2000
    with scan(folder, on_progress=lambda _n: None, index=index) as report:
        assert report.counts == {Reason.OK: 2000}
        continued = series.whole(report)
    assert len(read) == len(set(read)) == 2000 - noted
    assert continued.files == series.scanned(folder).files


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is not told here")
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """5000 files of 2500 studies: their headers alone would take over 20 MB as objects."""
    folder = many_files.write(tmp_path / "in", 5000, studies=2500)
    answer = _process(folder)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert (found["files"], found["series"]) == (5000, 2500)
    assert found["most"] - found["first"] < 16 * 2**20, found


def test_what_was_refused_before_it_told_its_series_is_counted_beside_it(tmp_path: Path) -> None:
    series.write(tmp_path / "in" / "a", series.stack(4))
    (tmp_path / "in" / "a" / "cut").write_bytes((tmp_path / "in/a/0001.dcm").read_bytes()[:200])
    (tmp_path / "in" / "a" / "none").write_bytes(b"")
    (tmp_path / "in" / "a" / "note").write_text("no image, so no slice either")
    (tmp_path / "in" / "b").mkdir()
    (tmp_path / "in" / "b" / "cut").write_bytes((tmp_path / "in/a/0001.dcm").read_bytes()[:200])
    one = series.only_series(tmp_path / "in")
    assert one.attributes["unread_neighbours"] == 2
    assert one.verdict is Reason.OK


def test_neighbours_of_several_series_are_counted_for_none(tmp_path: Path) -> None:
    other = series.instance(0)
    other.SeriesInstanceUID, other.SOPInstanceUID = "1.2.3.1.7", "1.2.3.1.7.1"
    other.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    series.write(tmp_path, [*series.stack(4), other])
    (tmp_path / "cut").write_bytes((tmp_path / "0001.dcm").read_bytes()[:200])
    (study,) = series.scanned(tmp_path).studies
    assert [one.attributes["unread_neighbours"] for one in study.series] == [0, 0]
