from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import NoReturn
from uuid import UUID

import pytest
from sqlalchemy.exc import InternalError

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


def failing_once(then: Callable[..., object]) -> Callable[..., object]:
    """Raise what no mapping knows, as a server with a fault does; from then on do ``then``."""
    failures = iter([InternalError("SELECT 1", {}, Exception("a fault of the server"))])

    def call(*words: object) -> object:
        for failure in failures:
            raise failure
        return then(*words)

    return call


def end_after(beats: int) -> Callable[[], None]:
    """Return a chore that ends the beat the so-manieth time it is done."""
    left = iter(range(beats - 1))

    def chore() -> None:
        if next(left, None) is None:
            raise Ended

    return chore


def test_a_renewal_that_fails_in_an_unknown_way_does_not_end_the_beat(
    here: Services, planned: Planned, pulse: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "LONGEST_BEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat.leases, "renew", failing_once(heartbeat.leases.renew))
    flight = taken(here, planned.jobs[0])
    claimed = flight._renewed
    pulse.add_chore(end_after(2))
    with here.flights.hold(flight), pytest.raises(Ended):
        pulse._beat()
    assert flight._renewed > claimed


def test_a_chore_that_fails_does_not_end_the_beat(
    pulse: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "LONGEST_BEAT_SECONDS", 0.01)
    done: list[int] = []
    pulse.add_chore(partial(failing_once(done.append), 1))
    pulse.add_chore(end_after(2))
    with pytest.raises(Ended):
        pulse._beat()
    assert done == [1]


def test_a_lease_that_cannot_be_given_back_does_not_stop_the_end(
    here: Services, planned: Planned, pulse: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = taken(here, planned.jobs[0]), taken(here, planned.jobs[1])
    monkeypatch.setattr(first, "release", failing_once(first.release))
    pulse._closing_since = 0.0
    with here.flights.hold(first), here.flights.hold(second), pytest.raises(Ended):
        pulse._shut_down()
    assert status(here, planned.jobs[0]) == (JobStatus.RUNNING, 1)
    assert status(here, planned.jobs[1]) == (JobStatus.QUEUED, 0)
