"""What becomes of the scan of a batch, on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from unittest.mock import create_autospec
from uuid import UUID, uuid4

import pytest
from celery import Celery
from sqlalchemy import select

from pipeline.dicom import scan
from pipeline.dicom.headers.process import Answer
from pipeline.dicom.headers.readers import HeaderReaders
from records import batches, database, models
from records.base import BatchStatus
from records.tables import Analysis, Batch, File, Job
from tests.machine import LUNGS
from worker import scan_indexes, scanning
from worker.catalogue import register_analysis
from worker.queue import messages
from worker.queue.settings import Settings
from worker.services import Services
from worker.tasks import desk


def scanned(here: Services, source: Path, names: Sequence[str]) -> tuple[Batch, set[str]]:
    """Scan a batch that asks for these analyses; return it and those its jobs have."""
    with database.unit_of_work(here.sessions) as session:
        new = batches.NewBatch(source=str(source), analyses=list(names))
        batch_id = batches.create(session, new, by="test").id
    desk.carry_scan(batch_id, here)
    with database.reading(here.sessions) as session:
        query = select(Analysis.name).join(Job).where(Job.batch_id == batch_id)
        return session.get_one(Batch, batch_id), set(session.scalars(query))


@pytest.fixture
def without_detector(here: Services) -> Services:
    """Retire a model of one of the shipped analyses."""
    with database.unit_of_work(here.sessions) as session:
        name = "demo-ct-nodule-detection"
        active = models.active(session, name)
        assert active is not None
        models.retire(session, name, active.version, by="test", why="a demonstration")
    return here


def test_who_asks_for_all_gets_those_whose_models_are_active(
    without_detector: Services, studies: Path
) -> None:
    batch, used = scanned(without_detector, studies, [])
    assert batch.status is BatchStatus.RUNNING
    assert "ct-lungs" in used
    assert "ct-nodules-demo" not in used


def test_what_does_not_run_by_default_runs_where_it_is_named(
    here: Services, studies: Path, tmp_path: Path
) -> None:
    path = tmp_path / "asked.yaml"
    path.write_text(LUNGS.replace("test-lungs", "asked") + "by_default: false\n")
    register_analysis(here, path)
    assert "asked" not in scanned(here, studies, [])[1]
    assert scanned(here, studies, ["asked"])[1] == {"asked"}


def test_who_names_an_analysis_is_told_which_model_is_missing(
    without_detector: Services, studies: Path
) -> None:
    batch, used = scanned(without_detector, studies, ["ct-lungs", "ct-nodules-demo"])
    assert (batch.status, batch.reason) == (BatchStatus.FAILED, "model.unavailable")
    assert batch.detail == "no active version of demo-ct-nodule-detection"
    assert not used


def indexes(here: Services) -> list[Path]:
    """The indexes of scans that are kept."""
    return sorted((here.settings.home / "scans").glob("*"))


def new_batch(here: Services, source: str) -> UUID:
    """A batch over a source, for every analysis."""
    with database.unit_of_work(here.sessions) as session:
        return batches.create(session, batches.NewBatch(source=source, analyses=[]), by="test").id


def state_of(here: Services, batch: UUID) -> tuple[BatchStatus, str | None]:
    """Status and reason of a batch."""
    with database.reading(here.sessions) as session:
        row = session.get_one(Batch, batch)
        return row.status, row.reason


def owner_of(here: Services, batch: UUID) -> str | None:
    """Who scans a batch."""
    with database.reading(here.sessions) as session:
        return session.get_one(Batch, batch).owner


def test_the_index_of_a_scan_is_gone_with_its_end(here: Services, studies: Path) -> None:
    for source, status in ((studies, BatchStatus.RUNNING), (studies / "no", BatchStatus.FAILED)):
        batch = new_batch(here, str(source))
        desk.carry_scan(batch, here)
        assert state_of(here, batch)[0] is status
        assert indexes(here) == []


def test_an_attempt_that_fails_leaves_its_index_to_the_next(
    here: Services, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = new_batch(here, str(studies))

    def broken(*_args: object) -> None:
        raise RuntimeError("a fault behind the scan")

    with monkeypatch.context() as patched:
        patched.setattr(scanning, "_record_studies", broken)
        desk.carry_scan(batch, here)
    assert [path.name for path in indexes(here)] == [f"{batch}.index"]
    with database.unit_of_work(here.sessions) as session:
        session.get_one(Batch, batch).not_before = None
    read: list[str] = []

    class Counting(HeaderReaders):
        def read(self, wanted: Iterable[str]) -> Iterator[tuple[str, Answer]]:
            for name, answer in super().read(wanted):
                read.append(name)
                yield name, answer

    monkeypatch.setattr(scan, "HeaderReaders", Counting)
    desk.carry_scan(batch, here)
    assert state_of(here, batch) == (BatchStatus.RUNNING, None)
    assert (read, indexes(here)) == ([], [])


def test_what_a_canceled_scan_left_is_swept_by_the_next(here: Services, studies: Path) -> None:
    canceled, waiting = new_batch(here, str(studies)), new_batch(here, str(studies))
    folder = here.settings.home / "scans"
    folder.mkdir(parents=True)
    for name in (f"{canceled}.index", f"{canceled}.index-wal", f"{waiting}.index", "note.txt"):
        (folder / name).touch()
    with database.unit_of_work(here.sessions) as session:
        batches.cancel(session, canceled, by="test")
    desk.carry_scan(new_batch(here, str(studies)), here)
    assert [path.name for path in indexes(here)] == [f"{waiting}.index", "note.txt"]


def test_an_archive_is_scanned_like_the_folder_it_holds(
    here: Services, studies: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(studies.rglob("*")):
            archive.write(path, path.relative_to(studies))
    found = []
    for source in (studies, tmp_path / "export.zip"):
        batch = new_batch(here, str(source))
        desk.carry_scan(batch, here)
        with database.reading(here.sessions) as session:
            query = select(File.path, File.verdict).where(File.batch_id == batch)
            found.append(sorted(tuple(row) for row in session.execute(query)))
    assert found[0] == found[1]
    assert ("note.txt", "file.not_dicom") in found[0]


def test_a_source_that_must_be_unpacked_fails_the_batch_with_what_to_do(
    here: Services, tmp_path: Path
) -> None:
    (tmp_path / "export.tar.gz").write_bytes(b"\x1f\x8b" + bytes(600))
    batch = new_batch(here, str(tmp_path / "export.tar.gz"))
    desk.carry_scan(batch, here)
    assert state_of(here, batch) == (BatchStatus.FAILED, "source.unreadable")


def tasks_of_desk(here: Services, threads: int) -> dict[str, Callable[..., None]]:
    """What a desk answers for, by name. Celery would share it with the apps of other tests."""
    named: dict[str, Callable[..., None]] = {}
    app = create_autospec(Celery, instance=True)
    app.task.side_effect = lambda name, **_: lambda task: named.setdefault(name, task)
    desk.register(app, here, threads=threads)
    return named


def test_scans_leave_upkeep_a_thread_and_the_next_is_announced_when_one_ends(
    here: Services, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, sent = threading.Event(), threading.Event(), list[str]()

    def slow(*_: object) -> None:
        begun.set()
        may_end.wait(60)

    monkeypatch.setattr(scanning, "carry", slow)
    monkeypatch.setattr(here.app, "send_task", lambda _, task_id, **__: sent.append(task_id))
    scan_batch = tasks_of_desk(here, threads=2)[messages.SCAN_BATCH]
    first, second = new_batch(here, str(studies)), new_batch(here, str(studies))
    scanner = threading.Thread(target=scan_batch, args=[str(first)])
    scanner.start()
    assert begun.wait(60)
    scan_batch(str(second))
    assert owner_of(here, second) is None
    sent.clear()
    may_end.set()
    scanner.join(60)
    assert sent == [str(second)]
    scan_batch(str(second))
    assert owner_of(here, second) == here.owner


def test_who_was_turned_away_is_told_once_and_in_turn() -> None:
    turns, (first, second, third) = desk.Turns(1), (uuid4() for _ in range(3))
    assert [turns.take(one) for one in (first, second, third, second)] == [True, *[False] * 3]
    assert turns.end() == second
    assert turns.take(third)
    assert turns.end() is None


def test_a_full_disk_is_said_so_and_a_damaged_index_is_thrown_away(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (tmp_path / "scans").mkdir()
    batch = uuid4()
    with (
        pytest.raises(OSError, match="No space left"),
        scan_indexes.kept(batch, settings) as path,
        closing(sqlite3.connect(path)) as small,
    ):
        small.executescript(
            "PRAGMA max_page_count = 3; CREATE TABLE t (x);INSERT INTO t VALUES (zeroblob(100000))"
        )
    assert not path.exists()
    path.write_bytes(b"no database" * 1000)
    with (
        pytest.raises(sqlite3.DatabaseError),
        scan_indexes.kept(batch, settings),
        closing(sqlite3.connect(path)) as damaged,
    ):
        damaged.execute("SELECT * FROM files")
    assert not path.exists()
