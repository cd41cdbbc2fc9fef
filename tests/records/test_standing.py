"""What is in force, and what is withdrawn."""

from __future__ import annotations

from sqlalchemy import event

from records import lineage, models
from records.base import JobStatus
from records.database import reading, unit_of_work
from records.listing import lineage_of, results_of
from records.standing import Standing
from tests.records.nights import STUDY, Nights


def test_the_last_analysis_of_a_study_is_in_force(nights: Nights) -> None:
    first = nights.analyse()
    other = nights.analyse(study="1.2.840.2")
    assert nights.standing(first, other) == [Standing.IN_FORCE] * 2
    second = nights.analyse()
    assert nights.standing(first, second, other) == [
        Standing.SUPERSEDED,
        Standing.IN_FORCE,
        Standing.IN_FORCE,
    ]
    with reading(nights.sessions) as session:
        shown = results_of(session, [first, second])
    assert [row.standing for row in shown] == [Standing.SUPERSEDED, Standing.IN_FORCE]


def test_an_analysis_that_did_not_succeed_supersedes_nothing(nights: Nights) -> None:
    first = nights.analyse()
    nights.analyse(status=JobStatus.FAILED)
    assert nights.standing(first) == [Standing.IN_FORCE]


def test_a_rollback_puts_the_old_results_back_in_force(nights: Nights) -> None:
    old = nights.analyse()
    nights.promote("1.1")
    new = nights.analyse()
    assert nights.standing(old, new) == [Standing.SUPERSEDED, Standing.IN_FORCE]
    with unit_of_work(nights.sessions) as session:
        models.rollback(session, "lung", by="grace", why="a bad night")
    assert nights.standing(old, new) == [Standing.IN_FORCE, Standing.ROLLED_BACK]


def test_how_the_jobs_of_a_version_stand_is_counted_in_one_statement(nights: Nights) -> None:
    nights.analyse()
    nights.analyse()
    nights.analyse(study="1.2.840.2")
    nights.analyse(study="1.2.840.3", status=JobStatus.FAILED)
    asked: list[str] = []
    with reading(nights.sessions) as session:

        def hear(_: object, __: object, statement: str, *___: object) -> None:
            asked.append(statement)

        event.listen(session.connection(), "before_cursor_execute", hear)
        assert lineage_of(session, "lung", "1.0").jobs == {"in force": 2, "superseded": 1}
    assert len([one for one in asked if "job_models" in one]) == 1


def test_lineage_leads_from_a_version_to_its_jobs(nights: Nights) -> None:
    first, second = nights.analyse(), nights.analyse()
    with reading(nights.sessions) as session:
        version = models.get(session, "lung", "1.0")
        uses = list(lineage.uses(session, version))
        assert lineage.training_of(session, version) is None
        assert lineage.snapshot_of(session, version) is None
    assert [(use.job, use.standing) for use in uses] == [
        (first, Standing.SUPERSEDED),
        (second, Standing.IN_FORCE),
    ]
    assert {use.study for use in uses} == {STUDY}
