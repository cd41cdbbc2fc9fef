from __future__ import annotations

from collections.abc import Mapping

import pytest

from api.cli.outcome import ExitCode, of_batch, sentence_of

WELL, FAILED, NOTHING, SOME = (
    ExitCode.WELL,
    ExitCode.PROGRAM_FAILED,
    ExitCode.NOTHING_TO_ANALYSE,
    ExitCode.SOME_STUDIES_WITHOUT_RESULT,
)


@pytest.mark.parametrize(
    ("status", "reason", "jobs", "code"),
    [
        ("finished", None, {"succeeded": 3}, WELL),
        ("finished", None, {"succeeded": 2, "rejected": 1}, SOME),
        ("finished", None, {"rejected": 1}, SOME),
        ("canceled", None, {"succeeded": 1, "canceled": 2}, SOME),
        ("finished", None, {}, NOTHING),
        ("failed", "source.no_dicom", {}, NOTHING),
        ("failed", "source.missing", {}, NOTHING),
        ("failed", "run.disk_full", {"succeeded": 1}, FAILED),
        ("failed", "source.unreadable", {}, FAILED),
    ],
)
def test_how_a_batch_ended_decides_the_exit_code(
    status: str, reason: str | None, jobs: Mapping[str, int], code: ExitCode
) -> None:
    assert of_batch(status, reason, jobs) is code


def test_the_codes_are_those_of_the_contract() -> None:
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4]


def test_an_error_becomes_a_sentence() -> None:
    assert sentence_of(ValueError("the disk is full")) == "The disk is full."
    assert sentence_of(KeyError()) == "KeyError."
