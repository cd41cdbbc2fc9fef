from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline import phantoms
from pipeline.phantoms import PhantomParameters
from records import batches, database
from records.base import BatchStatus
from records.tables import Artifact, Attempt, File, Job
from tests.machine import TINY, living_children_of_init, machine, write_studies
from worker.store import Store

pytestmark = pytest.mark.system

#: reading it takes long enough to be caught at it
SLOW = PhantomParameters(shape=(160, 192, 192), spacing=(1.9, 1.75, 1.65), lesions=0)


def _missing(source: Path) -> None:
    """Make no folder at all."""


def _empty(source: Path) -> None:
    source.mkdir()


def _without_images(source: Path) -> None:
    source.mkdir()
    (source / "note.txt").write_text("not DICOM")


def test_a_batch_goes_from_files_to_results_and_leaves_no_process(
    tmp_path: Path, sqlite_url: str
) -> None:
    source = tmp_path / "source"
    write_studies(source, 3)
    phantoms.write_series(phantoms.head(), source / "head", seed=100)
    (source / "note.txt").write_text("not DICOM")
    with machine(tmp_path / "home", sqlite_url) as here:
        batch_id = here.submit(source, ["test-lungs", "mr-head"])
        here.finish(batch_id)
        assert here.batch(batch_id).status is BatchStatus.FINISHED
        assert here.jobs() == {"succeeded": 4}
        volumes = [row.value for row in here.rows() if row.step == "lungs"]
        assert len(volumes) == 3
        assert all(volume > 0 for volume in volumes)
        assert {row.step for row in here.rows()} == {"lungs", "lesion"}
        store = Store(here.settings.store_path, reserve_bytes=0)
        kinds: Counter[str] = Counter()
        with database.reading(here.sessions) as session:
            for artifact in session.scalars(select(Artifact)):
                content = store.path(artifact.sha256).read_bytes()
                assert len(content) == artifact.size
                assert artifact.kind == "overlay" or content[128:132] == b"DICM"
                kinds[artifact.kind] += artifact.kind != "overlay"
            verdicts = dict(iter(session.execute(select(File.path, File.verdict))))
            report = session.scalars(select(Job.report)).first()
        assert +kinds == {"dicom-seg": 3, "dicom-sr": 1, "dicom-secondary-capture": 1}
        assert verdicts["note.txt"] == "file.not_dicom"
        slices = 3 * TINY.shape[0] + phantoms.head().volume.stored.shape[0]
        assert sum(verdict == "ok" for verdict in verdicts.values()) == slices
        assert report is not None
        assert {"versions", "models", "device", "seconds", "analysis"} <= report.keys()
        here.check_invariants()
    assert not living_children_of_init(str(tmp_path))


def test_two_processes_on_postgresql_say_what_the_embedded_run_says(
    tmp_path: Path, sqlite_url: str, postgresql_url: str
) -> None:
    source = tmp_path / "source"
    write_studies(source, 6)
    said = []
    for name, url, processes in (("one", sqlite_url, 1), ("two", postgresql_url, 2)):
        with machine(tmp_path / name, url, processes=processes) as here:
            here.finish(here.submit(source))
            said.append(here.rows())
            here.check_invariants()
    assert said[0] == said[1]
    assert len(said[0]) == 6


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_missing, "source.missing"),
        (_empty, "source.empty"),
        (_without_images, "source.no_dicom"),
    ],
)
def test_a_source_without_images_fails_the_batch_and_says_why(
    tmp_path: Path, sqlite_url: str, prepare: Callable[[Path], None], reason: str
) -> None:
    source = tmp_path / "source"
    prepare(source)
    with machine(tmp_path / "home", sqlite_url) as here:
        batch_id = here.submit(source)
        here.finish(batch_id)
        assert here.batch(batch_id).status is BatchStatus.FAILED
        assert here.batch(batch_id).reason == reason


def test_a_canceled_batch_ends_and_its_workers_go_on_to_the_next(
    tmp_path: Path, sqlite_url: str
) -> None:
    source = tmp_path / "source"
    write_studies(source, 12)
    with machine(tmp_path / "home", sqlite_url) as here:
        first = here.submit(source)
        here.wait(lambda: here.jobs().get("queued", 0) > 0)
        with database.unit_of_work(here.sessions) as session:
            batches.cancel(session, first, by="test")
        here.finish(first)
        assert here.batch(first).status is BatchStatus.CANCELED
        assert here.jobs().get("canceled", 0) > 0
        second = here.submit(source)
        here.finish(second)
        assert here.batch(second).status is BatchStatus.FINISHED
        here.check_invariants()


def test_a_stopped_worker_gives_its_jobs_back_uncounted(tmp_path: Path, sqlite_url: str) -> None:
    source = tmp_path / "source"
    write_studies(source, 2, SLOW)
    with machine(tmp_path / "home", sqlite_url, stop_grace="PT0.2S") as here:
        batch_id = here.submit(source)
        here.wait(lambda: here.jobs().get("running", 0) > 0)
        os.kill(here.supervisor.processes()["infer-0"], signal.SIGTERM)
        here.finish(batch_id, seconds=120)
        assert here.jobs() == {"succeeded": 2}
        with database.reading(here.sessions) as session:
            outcomes = set(session.scalars(select(Attempt.outcome)))
            attempts = set(session.scalars(select(Job.attempt)))
        assert "released" in outcomes
        assert "lost" not in outcomes
        assert attempts == {1}
        here.check_invariants()
