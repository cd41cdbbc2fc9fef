from __future__ import annotations

import errno
import os
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.reasons import Reason
from worker.store import DiskFull, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", reserve_bytes=0)


def test_the_same_content_is_stored_once_under_its_digest(store: Store) -> None:
    digest = store.put(b"lung")
    assert store.put(b"lung") == digest
    assert store.path(digest).read_bytes() == b"lung"
    assert [path.name for path in (store.root / "blobs").rglob("*") if path.is_file()] == [digest]


def test_only_the_owner_may_look_into_the_store(store: Store) -> None:
    path = store.path(store.put(b"lung"))
    for folder in (path.parent, store.root):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_nearly_full_disk_refuses_with_a_reason_and_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, reserve_bytes=2**60)
    with pytest.raises(DiskFull) as refused:
        store.put(b"lung")
    assert refused.value.reason is Reason.RUN_DISK_FULL
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_bundle_is_copied_whole_under_its_digest(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text("{}")
    copy = store.put_bundle(folder, "d" * 64)
    assert (copy / "configs" / "metadata.json").read_text() == "{}"
    assert store.put_bundle(folder, "d" * 64) == copy


def test_the_sweep_removes_what_killed_writers_left_and_nothing_fresh(store: Store) -> None:
    left = store.root / "temporary" / "left"
    fresh = store.root / "temporary" / "fresh"
    for path in (left, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    assert store.sweep(older_than=timedelta(hours=1)) == 1
    assert fresh.exists()
    assert not left.exists()


def test_a_bundle_made_in_scratch_is_moved_under_its_digest(store: Store) -> None:
    for _ in range(2):
        with store.scratch() as scratch:
            (scratch / "bundle").mkdir()
            (scratch / "bundle" / "LICENSE").write_text("MIT")
            kept = store.adopt_bundle(scratch / "bundle", "e" * 64)
        assert (kept / "LICENSE").read_text() == "MIT"
    assert list((store.root / "bundles").iterdir()) == [kept]
    assert list((store.root / "temporary").iterdir()) == []


def test_scratch_is_removed_also_after_an_error(store: Store) -> None:
    def half() -> None:
        with store.scratch() as scratch:
            (scratch / "half").write_text("made")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        half()
    assert list((store.root / "temporary").iterdir()) == []


def test_a_disk_that_becomes_full_under_scratch_has_a_reason(store: Store) -> None:
    def full() -> None:
        with store.scratch():
            raise OSError(errno.ENOSPC, "no space left")

    with pytest.raises(DiskFull):
        full()
