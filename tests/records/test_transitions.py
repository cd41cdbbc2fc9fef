"""The tables of legal transitions say what the design says."""

from __future__ import annotations

import enum
from itertools import product

import pytest

from records.base import BatchStatus, JobStatus, TrainingStatus
from records.transitions import BATCH_ENDS, JOB_ENDS, TABLES, is_legal


@pytest.mark.parametrize("kind", list(TABLES))
def test_staying_is_not_a_transition(kind: type[enum.StrEnum]) -> None:
    assert not any(is_legal(status, status) for status in kind)


@pytest.mark.parametrize("kind", list(TABLES))
def test_every_status_but_the_first_can_be_reached(kind: type[enum.StrEnum]) -> None:
    _first, *others = kind
    assert {after for _, after in TABLES[kind]} >= set(others)


def test_a_job_ends_only_out_of_running_or_by_being_canceled() -> None:
    for before, after in product(JobStatus, JOB_ENDS):
        if is_legal(before, after):
            assert before is JobStatus.RUNNING or after is JobStatus.CANCELED


def test_success_is_final() -> None:
    assert not any(is_legal(JobStatus.SUCCEEDED, after) for after in JobStatus)
    assert not any(is_legal(TrainingStatus.SUCCEEDED, after) for after in TrainingStatus)


def test_a_batch_that_has_ended_only_goes_back_to_work() -> None:
    for before, after in product(BATCH_ENDS, BatchStatus):
        if is_legal(before, after):
            assert after in {BatchStatus.SCANNING, BatchStatus.RUNNING}
