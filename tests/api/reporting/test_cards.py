from __future__ import annotations

import uuid
from typing import Any

import pytest

from api.reporting.cards import amount, headline, score_text, size_text
from api.reporting.report import duration
from records.listing import ResultRow
from records.standing import Standing


def row(**columns: Any) -> ResultRow:
    plain = {
        "batch": uuid.UUID(int=1),
        "job": uuid.UUID(int=2),
        "study": "1.2",
        "series": "1.2.3",
        "analysis": "a",
        "model": "m",
        "version": "1",
        "digest": "0" * 64,
        "kind": "segment",
        "label": "Lung",
        "code": None,
        "value": None,
        "unit": None,
        "score": None,
        "step": "s",
        "ordinal": 0,
        "payload": {},
        "standing": Standing.IN_FORCE,
    }
    return ResultRow(**{**plain, **columns})


def test_a_headline_says_volumes_counts_and_the_likeliest_class() -> None:
    rows = [
        row(value=1448.6, unit="mL"),
        row(kind="detection", label="Nodule", score=0.4),
        row(kind="detection", label="Nodule", score=0.91),
        row(kind="classification", label="lesion", score=0.2),
        row(kind="classification", label="no lesion", score=0.8),
    ]
    assert headline(rows) == "Lung 1,449 mL · 2 \u00d7 Nodule, best 0.91 · no lesion 0.80"


def test_a_headline_says_what_was_found_before_how_sure_that_is() -> None:
    rows = [
        row(kind="measurement", label="predictive entropy", value=0.25, unit="bit"),
        row(kind="classification", label="lesion", score=0.95),
    ]
    assert headline(rows) == "lesion 0.95 · predictive entropy 0.25 bit"


def test_a_long_headline_counts_the_rest() -> None:
    rows = [row(label=f"L{n}", value=float(n), unit="mL") for n in range(5)]
    assert headline(rows) == "L0 0 mL · L1 1 mL · L2 2 mL · 2 more"


def test_nothing_found_has_no_headline() -> None:
    assert headline([]) == ""


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(12.3456, "mL", "12.35 mL"), (-5.0, None, "-5"), (12345.6, "mm", "12,346 mm"), (3, "1", "3")],
)
def test_values_have_four_digits(value: float, unit: str | None, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.421, "0.42 s"), (37.2, "37 s"), (725, "12 min 05 s"), (12000, "3 h 20 min")],
)
def test_times_are_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_sizes_are_for_people() -> None:
    assert [size_text(n) for n in (9, 2048, 3 * 2**20)] == ["9 B", "2 KB", "3.0 MB"]


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.9975, ">0.99"), (1.0, "1.00"), (0.002, "<0.01"), (0.0, "0.00"), (0.456, "0.46")],
)
def test_a_score_never_claims_more_certainty_than_it_has(score: float, text: str) -> None:
    assert score_text(score) == text
