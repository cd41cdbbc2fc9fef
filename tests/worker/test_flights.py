from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from pipeline.errors import DeadlineExceeded, Interrupted
from records.leases import Kind, Lease
from worker.flights import Flight, Flights, Gate, Stop


def flight(*, length: float = 30.0, claimed_ago: float = 0.0) -> Flight:
    def give_back(session: Session, lease: Lease) -> None:
        """Nothing to give back here."""

    return Flight(
        Lease(Kind.JOB, uuid.uuid4(), token=1, attempt=1, owner="here:1:a"),
        release=give_back,
        length=timedelta(seconds=length),
        claimed=time.monotonic() - claimed_ago,
    )


def test_work_goes_on_while_nothing_speaks_against_it() -> None:
    flight().checkpoint()


def test_the_first_reason_to_stop_counts() -> None:
    held = flight()
    held.ask_to_stop(Stop.CANCELED)
    held.ask_to_stop(Stop.SHUTDOWN)
    with pytest.raises(Interrupted):
        held.checkpoint()
    assert held.stop is Stop.CANCELED


def test_a_holder_that_could_not_renew_for_most_of_its_lease_gives_up_by_itself() -> None:
    held = flight(length=10, claimed_ago=8.1)
    with pytest.raises(Interrupted):
        held.checkpoint()
    assert held.stop is Stop.LOST


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    held = flight(length=10, claimed_ago=8.1)
    held.note_renewed(time.monotonic() - 7.0)
    held.checkpoint()


def test_a_job_past_its_deadline_stops_at_the_next_checkpoint() -> None:
    held = flight()
    held.limit(-1.0)
    with pytest.raises(DeadlineExceeded):
        held.checkpoint()


def test_flights_are_held_only_inside_their_block() -> None:
    flights = Flights(lease=timedelta(seconds=30))
    with flights.hold(flight()) as held:
        assert flights.held() == [held]
    assert flights.held() == []


def test_work_without_a_lease_is_overdue_when_it_outlasts_its_deadline_and_the_grace() -> None:
    flights, job = Flights(lease=timedelta(seconds=30)), uuid.uuid4()
    with flights.watch(uuid.uuid4(), 60.0), flights.watch(job, -10.0) as deadline:
        assert deadline < time.monotonic()
        assert flights.is_busy
        assert flights.held() == []
        assert flights.overdue(5.0) == [job]
        assert flights.overdue(15.0) == []
    assert flights.overdue(5.0) == []
    assert not flights.is_busy


def test_jobs_pass_the_gate_together_and_a_suspect_alone() -> None:
    gate = Gate()
    inside, together = threading.Barrier(3, timeout=10), []

    def side_by_side() -> None:
        with gate.enter(alone=False, checkpoint=flight().checkpoint):
            inside.wait()
            together.append(1)

    threads = [threading.Thread(target=side_by_side) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    with gate.enter(alone=True, checkpoint=flight().checkpoint):
        assert len(together) == 2
        newcomer = threading.Thread(target=lambda: _pass(gate))
        newcomer.start()
        newcomer.join(0.3)
        assert newcomer.is_alive()
    newcomer.join(10)
    assert not newcomer.is_alive()
    for thread in threads:
        thread.join()


def test_who_waits_at_the_gate_still_hears_that_it_must_stop() -> None:
    gate, held = Gate(), flight()
    held.ask_to_stop(Stop.CANCELED)
    with gate.enter(alone=False, checkpoint=flight().checkpoint):
        with (
            pytest.raises(Interrupted),
            gate.enter(alone=True, checkpoint=held.checkpoint),
        ):
            pass
        _pass(gate)  # the one that gave up is no longer waited for


def test_who_yields_waits_until_nobody_is_inside_and_holds_nobody_up() -> None:
    gate = Gate()
    busy = threading.Event()

    def enter_yielding() -> None:
        with gate.enter(alone=False, checkpoint=flight().checkpoint, yields=lambda: True):
            busy.wait(10)

    with gate.enter(alone=False, checkpoint=flight().checkpoint):
        patient = threading.Thread(target=enter_yielding)
        patient.start()
        patient.join(0.3)
        assert gate._inside == 1
    while gate._inside == 0:
        time.sleep(0.01)
    _pass(gate)  # an urgent job does not wait for the one that yields
    busy.set()
    patient.join(10)


def test_who_yields_goes_on_as_soon_as_there_is_nothing_to_yield_to() -> None:
    gate, asked = Gate(), iter((True, False))
    with (
        gate.enter(alone=False, checkpoint=flight().checkpoint),
        gate.enter(alone=False, checkpoint=flight().checkpoint, yields=lambda: next(asked)),
    ):
        assert list(asked) == []


def _pass(gate: Gate) -> None:
    with gate.enter(alone=False, checkpoint=flight().checkpoint):
        pass
