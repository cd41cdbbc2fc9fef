"""Folders: nothing outside is listed or opened, whatever takes the place of what was seen."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.folder import Folder, RegularFile
from pipeline.reasons import Reason


def names(folder: Path) -> list[str]:
    """Return the names of the entries that are not refused."""
    return [entry.name for entry in Folder(folder).entries() if entry.refused is None]


def reason_of(folder: Path, name: str) -> Reason:
    """Return why a name is not opened."""
    with pytest.raises(FileRefused) as refused:
        Folder(folder).open(name)
    return refused.value.reason


def test_entries_come_sorted_folder_by_folder(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/z/9", "a/0", "c", "B"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["B", "c", "a/0", "a/z/9", "b/1", "b/2"]


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "..", "a/..", "", "/etc/passwd"])
def test_a_name_that_climbs_out_is_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "outside").write_text("x")
    assert reason_of(tmp_path / "in", name) in (Reason.FILE_OUTSIDE, Reason.FILE_UNREADABLE)


def test_a_file_that_became_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside").write_text("x")
    (tmp_path / "in" / "file").write_text("x")
    source = Folder(tmp_path / "in")
    (entry,) = source.entries()
    (tmp_path / "in" / "file").unlink()
    (tmp_path / "in" / "file").symlink_to(tmp_path / "outside")
    with pytest.raises(FileRefused):
        source.open(entry.name)


def test_a_folder_that_became_a_link_is_neither_listed_nor_gone_through(tmp_path: Path) -> None:
    for name in ("in/a/1", "in/b/2", "outside/2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    source = Folder(tmp_path / "in")
    entries = source.entries()
    first = next(entries)
    (tmp_path / "in" / "b").rename(tmp_path / "away")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "outside")
    rest = list(entries)
    assert first.name == "a/1"
    assert [(entry.name, entry.refused is None) for entry in rest] == [("b", False)]
    with pytest.raises(FileRefused):
        source.open("b/2")


def test_a_file_that_became_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reason_of(tmp_path, "pipe") is Reason.FILE_NOT_REGULAR


def test_a_tree_of_five_hundred_levels_is_walked(tmp_path: Path) -> None:
    """Deeper than a path may be long, so each folder is opened in the one above."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(500):
        os.mkdir("a_rather_long_name", dir_fd=here)
        below = os.open("a_rather_long_name", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    (name,) = names(tmp_path)
    assert name.count("/") == 500
    with Folder(tmp_path).open(name) as file:
        assert file.size == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what nobody may")
def test_what_may_not_be_read_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0)
    (tmp_path / "folder").mkdir(mode=0)
    entries = {entry.name: entry.refused for entry in Folder(tmp_path).entries()}
    refused = entries["folder"]
    assert refused is not None
    assert refused[0] is Reason.FILE_UNREADABLE
    assert reason_of(tmp_path, "file") is Reason.FILE_UNREADABLE


def test_a_file_is_as_long_as_when_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    with RegularFile(path) as file, path.open("ab") as more:
        more.write(b"4567")
        more.flush()
        assert file.size == 4


def test_a_file_put_in_place_of_another_has_another_stamp(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    (before,) = Folder(tmp_path).entries()
    status = (tmp_path / "file").stat()
    (tmp_path / "other").write_bytes(b"two")
    os.utime(tmp_path / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "other").rename(tmp_path / "file")
    (after,) = Folder(tmp_path).entries()
    assert (before.size, before.stamp != after.stamp) == (after.size, True)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are not listed here")
def test_descriptors_are_given_back(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}" / "deep").mkdir(parents=True)
        (tmp_path / f"{number}" / "deep" / "file").touch()
    gc.collect()  # what earlier tests left open is not ours
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    source = Folder(tmp_path)
    for entry in source.entries():
        source.open(entry.name).close()
    del source
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
