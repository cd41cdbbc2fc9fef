"""Whatever workers, people and time do to a job, in whatever order, it ends once and truthfully."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from records import audit, database, jobs
from records.base import JobStatus
from records.database import reading, unit_of_work
from records.leases import Fenced, Lease
from records.tables import Attempt, Job, JobEvent, Result
from records.transitions import JOB, JOB_ENDS, IllegalTransition
from tests.records.conftest import AT, Rows

LEASE = timedelta(hours=1)
WORKERS = st.sampled_from(["a", "a", "b"])
AGES = st.sampled_from([0, 0, 1])
ENDINGS = st.sampled_from(["succeed", "reject", "fail", "give up", "release", "cancel"])


class JobMachine(RuleBasedStateMachine):
    """Two workers that may be zombies, a person, upkeep, and one job of two attempts."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ns-machine-"))
        shutil.copyfile(self.template, self.folder / "nightshift.db")
        self.engine = database.connect(f"sqlite:///{self.folder / 'nightshift.db'}")
        self.sessions = database.session_factory(self.engine)
        self.rows = Rows(self.sessions)
        self.job = self.rows.job(max_attempts=2)
        self.leases: list[Lease] = []  # all that were ever given: the old ones are zombies
        self.holder: str | None = None
        self.tokens: list[int] = []
        self.successes = 0

    def teardown(self) -> None:
        self.engine.dispose()
        shutil.rmtree(self.folder)

    @rule(worker=WORKERS)
    def claim(self, worker: str) -> None:
        before = self._job()
        with unit_of_work(self.sessions) as session:
            lease = jobs.claim(session, self.job, owner=worker, lease=LEASE)
        if lease is None:
            assert before.status is not JobStatus.QUEUED or before.not_before is not None
            return
        assert self.holder is None, "somebody holds a lease that is not over"
        assert lease.attempt <= 2
        self.leases.append(lease)
        self.holder = worker
        self.tokens.append(lease.token)

    @precondition(lambda self: self.leases)
    @rule(age=AGES)
    def renew(self, age: int) -> None:
        lease = self._lease(age)
        with unit_of_work(self.sessions) as session:
            renewal = jobs.renew(session, [lease], LEASE)
        if self._is_current(lease):
            assert renewal.lost == frozenset()
            self.holder = lease.owner
        else:
            assert renewal.lost == {self.job}

    @rule()
    def the_lease_runs_out(self) -> None:
        if self._job().status is JobStatus.RUNNING:
            self._set(lease_until=AT)
            self.holder = None

    @rule()
    def the_back_off_is_over(self) -> None:
        self._set(not_before=None)

    @rule()
    def upkeep(self) -> None:
        with unit_of_work(self.sessions) as session:
            jobs.expire(session, lane="shared")

    @rule()
    def a_person_cancels(self) -> None:
        with unit_of_work(self.sessions) as session:
            jobs.cancel(session, self.job, by="tester")

    @rule()
    def a_person_retries(self) -> None:
        status = self._job().status
        try:
            with unit_of_work(self.sessions) as session:
                jobs.retry(session, self.job, by="tester")
        except IllegalTransition:
            assert (status, JobStatus.QUEUED) not in JOB or status is JobStatus.RUNNING

    @precondition(lambda self: self.leases)
    @rule(age=AGES, ending=ENDINGS)
    def end(self, age: int, ending: str) -> None:
        lease = self._lease(age)
        was_current = self._is_current(lease)
        try:
            with unit_of_work(self.sessions) as session:
                self._endings()[ending](session, lease)
        except Fenced:
            assert not was_current
            return
        assert was_current, "a zombie wrote"
        self.successes += ending == "succeed"
        self.holder = None

    @invariant()
    def the_rows_tell_one_true_story(self) -> None:
        with reading(self.sessions) as session:
            job = session.get_one(Job, self.job)
            self._check_results(session, job)
            self._check_events(session, job)
            self._check_attempts(session, job)
            assert audit.verify(session).ok
        assert (job.owner is not None) == (job.status is JobStatus.RUNNING)
        assert (job.finished_at is not None) == (job.status in JOB_ENDS)

    def _check_results(self, session: Session, job: Job) -> None:
        """Results are recorded once, and with success only."""
        results = session.scalar(select(func.count()).select_from(Result))
        assert self.successes == (job.status is JobStatus.SUCCEEDED) == results

    def _check_events(self, session: Session, job: Job) -> None:
        """Every step was legal and has its event."""
        status = JobStatus.QUEUED
        steps = select(JobEvent.from_status, JobEvent.to_status).order_by(JobEvent.id)
        for before, after in session.execute(steps):
            assert before == status
            assert (status, JobStatus(after)) in JOB
            status = JobStatus(after)
        assert status is job.status

    def _check_attempts(self, session: Session, job: Job) -> None:
        """Tokens grow, each has its attempt, and only a running job's is open."""
        assert self.tokens == sorted(set(self.tokens))
        attempts = session.scalars(select(Attempt).order_by(Attempt.token)).all()
        assert [attempt.token for attempt in attempts] == self.tokens
        still_open = [attempt for attempt in attempts if attempt.ended_at is None]
        assert len(still_open) == (job.status is JobStatus.RUNNING)

    def _job(self) -> Job:
        with reading(self.sessions) as session:
            return session.get_one(Job, self.job)

    def _lease(self, age: int) -> Lease:
        """Return the newest lease, or one that is ``age`` claims older."""
        return self.leases[max(len(self.leases) - 1 - age, 0)]

    def _is_current(self, lease: Lease) -> bool:
        job = self._job()
        return job.status is JobStatus.RUNNING and job.token == lease.token

    def _set(self, **columns: object) -> None:
        with unit_of_work(self.sessions) as session:
            session.execute(update(Job).where(Job.id == self.job).values(**columns))

    def _endings(self) -> dict[str, Callable[[Session, Lease], object]]:
        result = jobs.NewResult(
            step="s", ordinal=0, kind="segment", label="x", model_version_id=self.rows.model_id
        )
        return {
            "succeed": lambda session, lease: jobs.succeed(
                session, lease, results=[result], artifacts=[], report={}
            ),
            "reject": lambda session, lease: jobs.reject(
                session, lease, reason="series.missing_slice", detail="x"
            ),
            "fail": lambda session, lease: jobs.fail(
                session, lease, reason="run.error", detail="x", retry=True
            ),
            "give up": lambda session, lease: jobs.fail(
                session, lease, reason="run.error", detail="x", retry=False
            ),
            "release": jobs.release,
            "cancel": jobs.finish_canceled,
        }


def test_a_job_ends_once_whatever_happens_to_it(sqlite_template: Path) -> None:
    class Machine(JobMachine):
        template = sqlite_template

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # twenty steps read well enough unshrunk
            suppress_health_check=list(HealthCheck),
        ),
    )
