"""What ends an inference process that its heartbeat takes for well."""

from __future__ import annotations

import argparse
import math
from typing import NoReturn

import pytest

from records import database
from records.base import JobStatus
from records.tables import Job
from tests.worker.conftest import Planned
from worker import analysis, dispatch, roles, watchdog
from worker.heartbeat import DEADLINE_GRACE_SECONDS, EXIT_HUNG, Heartbeat
from worker.services import Services
from worker.tasks import inference


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def endings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit statuses with which a watchdog ended this process."""
    codes: list[int] = []

    def end(code: int) -> NoReturn:
        codes.append(code)
        raise Ended

    monkeypatch.setattr(watchdog.os, "_exit", end)
    return codes


def test_a_candidate_that_hangs_ends_the_process_and_costs_its_neighbour_no_attempt(
    here: Services, planned: Planned, endings: list[int]
) -> None:
    ended, running = planned.jobs
    neighbour = analysis.claim(running, here)
    assert neighbour is not None
    late = -DEADLINE_GRACE_SECONDS - 1.0
    with here.flights.hold(neighbour), here.flights.watch(ended, late), pytest.raises(Ended):
        watchdog.Overdue(here).check()
    assert endings == [EXIT_HUNG]
    with database.reading(here.sessions) as session:
        job = session.get_one(Job, running)
        assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)


def test_an_inference_process_looks_for_candidates_that_hang(
    here: Services, planned: Planned, monkeypatch: pytest.MonkeyPatch, endings: list[int]
) -> None:
    def beat_once(_: Services, heartbeat: Heartbeat, *__: object) -> int:
        for chore in heartbeat._chores:
            chore()
        return 0

    monkeypatch.setattr(roles, "_open", lambda _: here)
    monkeypatch.setattr(roles, "_work", beat_once)
    monkeypatch.setattr(here.models, "prepare", lambda: None)
    monkeypatch.setattr(inference, "register", lambda *_: None)
    with here.flights.watch(planned.jobs[0], -math.inf), pytest.raises(Ended):
        roles.infer(argparse.Namespace())
    assert endings == [EXIT_HUNG]


def test_a_neighbour_that_was_fenced_does_not_stop_the_end(
    here: Services, planned: Planned, endings: list[int]
) -> None:
    ended, running = planned.jobs
    fenced = analysis.claim(running, here)
    assert fenced is not None
    with database.unit_of_work(here.sessions) as session:
        fenced.release(session, fenced.lease)
    with here.flights.hold(fenced), here.flights.watch(ended, -math.inf), pytest.raises(Ended):
        watchdog.Overdue(here).check()
    assert endings == [EXIT_HUNG]


def test_a_candidate_within_its_deadline_is_left_alone(here: Services, planned: Planned) -> None:
    with here.flights.watch(planned.jobs[0], -DEADLINE_GRACE_SECONDS + 10.0):
        watchdog.Overdue(here).check()


def test_a_process_that_hears_of_no_waiting_job_has_stalled_unless_a_candidate_runs_there(
    here: Services, planned: Planned, endings: list[int]
) -> None:
    dispatch.dispatch_jobs(here)
    stall = watchdog.Stall(here)
    stall._next_look = -math.inf
    with here.flights.watch(planned.jobs[0], 60.0):
        here.flights.last_heard = -math.inf
        stall.check()
    here.flights.last_heard = -1e6
    with pytest.raises(Ended):
        stall.check()
    assert endings == [watchdog.EXIT_STALLED]
