"""Real processes are killed in the middle of a batch; every job still ends, and ends once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline.phantoms import PhantomParameters
from records import database
from records.base import BatchStatus
from records.tables import Attempt, Job
from tests.machine import Machine, living_children_of_init, machine, write_studies

pytestmark = pytest.mark.fault

STUDIES = 50


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_studies(folder, STUDIES)
    return folder


@pytest.fixture
def here(tmp_path: Path, sqlite_url: str) -> Iterator[Machine]:
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208, S108 - a listing of names, not a file
    with machine(tmp_path / "home", sqlite_url) as running:
        yield running
    assert not living_children_of_init(str(tmp_path))
    left = set(os.listdir("/dev/shm")) - before  # noqa: PTH208, S108 - ditto
    assert not [name for name in left if "nightshift" in name or name.startswith("psm_")]


def succeeded(here: Machine) -> int:
    return here.jobs().get("succeeded", 0)


def test_a_killed_inference_worker_loses_nothing_and_repeats_nothing(
    here: Machine, source: Path
) -> None:
    batch_id = here.submit(source)
    here.wait(lambda: succeeded(here) >= 5 and here.jobs().get("running", 0) > 0)
    os.kill(here.supervisor.processes()["infer-0"], signal.SIGKILL)
    here.finish(batch_id, seconds=200)
    assert here.jobs() == {"succeeded": STUDIES}
    assert len(here.rows()) == STUDIES
    assert here.supervisor.restarts() == 1
    with database.reading(here.sessions) as session:
        lost = session.scalars(select(Attempt).where(Attempt.outcome == "lost")).all()
        tried_twice = session.scalars(select(Job.id).where(Job.attempt > 1)).all()
    assert lost
    assert {attempt.job_id for attempt in lost} == set(tried_twice)
    assert {attempt.reason for attempt in lost} == {"run.worker_lost"}
    here.check_invariants()


def test_a_broker_that_forgets_everything_loses_no_job(here: Machine, source: Path) -> None:
    batch_id = here.submit(source)
    here.wait(lambda: succeeded(here) >= 5)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(here.socket))
        connection.sendall(b"SHUTDOWN NOSAVE\r\n")
    here.finish(batch_id, seconds=200)
    assert here.jobs() == {"succeeded": STUDIES}
    assert len(here.rows()) == STUDIES
    assert here.supervisor.restarts() >= 1
    here.check_invariants()


def test_a_series_that_kills_its_decoder_costs_one_job_and_no_worker(
    tmp_path: Path, here: Machine
) -> None:
    mixed = tmp_path / "mixed"
    write_studies(mixed / "healthy", 6)
    # files enough that one of them is seen open, also where every core is busy
    heavy = PhantomParameters(shape=(800, 128, 128), spacing=(0.5, 2.6, 2.5), lesions=0, seed=99)
    write_studies(mixed / "poison", 1, heavy, first=900)
    worker = here.supervisor.processes()["infer-0"]
    with killing_readers_of(str(mixed / "poison"), of=worker):
        batch_id = here.submit(mixed)
        here.finish(batch_id, seconds=200)
    assert here.jobs() == {"succeeded": 6, "rejected": 1}
    with database.reading(here.sessions) as session:
        poisoned = session.scalars(select(Job).where(Job.status == "rejected")).one()
    assert poisoned.reason == "pixels.decoder_died"
    assert here.supervisor.processes()["infer-0"] == worker
    assert here.batch(batch_id).status is BatchStatus.FINISHED
    here.check_invariants()


@contextlib.contextmanager
def killing_readers_of(folder: str, *, of: int) -> Iterator[None]:
    """Send SIGSEGV to every decoding child of a worker that opens a file below ``folder``."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for pid in descendants(of):
                if any(name.startswith(folder) for name in open_files(pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSEGV)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def descendants(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        threads = Path(f"/proc/{pid}/task").glob("*/children")
        found = {int(one) for path in threads for one in path.read_text().split()}
        found |= {int(one) for one in children}
        return [*found, *(one for child in found for one in descendants(child))]
    return []


def open_files(pid: int) -> list[str]:
    names = []
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(str(path.readlink()))
    return names
