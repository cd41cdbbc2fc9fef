from __future__ import annotations

from datetime import timedelta
from typing import NoReturn
from uuid import UUID

import pytest

from records import database
from records.base import JobStatus
from records.tables import Job
from tests.worker.conftest import Planned
from worker import analysis, heartbeat
from worker.flights import Flight, Stop
from worker.heartbeat import DEADLINE_GRACE_SECONDS, EXIT_HUNG, Heartbeat
from worker.services import Services


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def endings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit statuses with which the heartbeat ended this process."""
    codes: list[int] = []

    def end(code: int) -> NoReturn:
        codes.append(code)
        raise Ended

    monkeypatch.setattr(heartbeat.os, "_exit", end)
    return codes


@pytest.fixture
def pulse(here: Services) -> Heartbeat:
    return Heartbeat(here.flights, here.sessions, stop_grace=timedelta(0))


def taken(here: Services, job_id: UUID) -> Flight:
    flight = analysis.claim(job_id, here)
    assert flight is not None
    return flight


def status(here: Services, job_id: UUID) -> tuple[JobStatus, int]:
    with database.reading(here.sessions) as session:
        job = session.get_one(Job, job_id)
        return job.status, job.attempt


def test_a_hung_job_ends_the_process_and_its_neighbour_starts_again_uncounted(
    here: Services, planned: Planned, pulse: Heartbeat, endings: list[int]
) -> None:
    hung, neighbour = taken(here, planned.jobs[0]), taken(here, planned.jobs[1])
    hung.limit(-DEADLINE_GRACE_SECONDS - 1.0)
    with here.flights.hold(hung), here.flights.hold(neighbour), pytest.raises(Ended):
        pulse._end_hung()
    assert endings == [EXIT_HUNG]
    assert status(here, planned.jobs[0]) == (JobStatus.RUNNING, 1)
    assert status(here, planned.jobs[1]) == (JobStatus.QUEUED, 0)


def test_a_shutdown_asks_running_jobs_to_stop_after_the_grace(
    here: Services, planned: Planned, pulse: Heartbeat
) -> None:
    flight = taken(here, planned.jobs[0])
    with here.flights.hold(flight):
        pulse._shut_down()
        assert flight.stop is None
        pulse._closing_since = 0.0
        with pytest.raises(Ended):
            pulse._shut_down()
    assert flight.stop is Stop.SHUTDOWN
    assert status(here, planned.jobs[0]) == (JobStatus.QUEUED, 0)


def test_a_neighbour_that_was_fenced_does_not_stop_the_end(
    here: Services, planned: Planned, pulse: Heartbeat, endings: list[int]
) -> None:
    hung, fenced = taken(here, planned.jobs[0]), taken(here, planned.jobs[1])
    hung.limit(-DEADLINE_GRACE_SECONDS - 1.0)
    with database.unit_of_work(here.sessions) as session:
        fenced.release(session, fenced.lease)
    with here.flights.hold(hung), here.flights.hold(fenced), pytest.raises(Ended):
        pulse._end_hung()
    assert endings == [EXIT_HUNG]
