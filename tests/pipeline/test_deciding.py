from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from pipeline.analysis.steps import Condition
from pipeline.deciding import describe, failure, judge
from pipeline.results import Classification, Detection, Finding, Measurement, Segment

FOUND: dict[str, list[Finding]] = {
    "kind": [
        Classification(label="well", score=0.25),
        Classification(label="sick", score=0.75, is_top=True),
    ],
    "mask": [
        Segment(number=1, label="lung", voxels=9, volume_ml=3.5, centroid=(0.0, 0.0, 0.0)),
        Segment(number=2, label="heart", voxels=0, volume_ml=0.0, centroid=None),
    ],
    "boxes": [
        Detection(label="nodule", score=score, index_box=(0,) * 6, centre=None, size=None)
        for score in (0.3, 0.6, 0.9)
    ],
    "size": [Measurement(label="length", value=12.0, unit="mm")],
}
SICK = {"step": "kind", "score": "sick", "minimum": 0.5}
LARGE = {"step": "mask", "volume_ml": "lung", "above": 100}


def parsed(condition: dict[str, Any]) -> Condition:
    made: Condition = TypeAdapter(Condition).validate_python(condition)
    return made


@pytest.mark.parametrize(
    ("condition", "holds", "actual"),
    [
        ({"step": "kind", "top": "sick"}, True, ["sick"]),
        ({"step": "kind", "top": ["well", "odd"]}, False, ["sick"]),
        (SICK, True, 0.75),
        ({"step": "kind", "score": "sick", "maximum": 0.5}, False, 0.75),
        ({"step": "kind", "score": "sick", "above": 0.75}, False, 0.75),
        ({"step": "kind", "score": "sick", "minimum": 0.75, "below": 0.76}, True, 0.75),
        ({"step": "kind", "score": "odd", "maximum": 1}, False, None),
        (LARGE, False, 3.5),
        ({"step": "mask", "volume_ml": "heart", "maximum": 0}, True, 0.0),
        ({"step": "boxes", "count": "nodule", "minimum": 3}, True, 3.0),
        ({"step": "boxes", "count": "nodule", "minimum_score": 0.6, "minimum": 3}, False, 2.0),
        ({"step": "boxes", "count": "cyst", "maximum": 0}, True, 0.0),
        ({"step": "size", "value": "length", "above": 10}, True, 12.0),
        ({"step": "kind", "value": "length", "above": 10}, False, None),
    ],
)
def test_a_comparison_is_judged_by_what_was_found(
    condition: dict[str, Any], *, holds: bool, actual: Any
) -> None:
    clause = judge(parsed(condition), FOUND.__getitem__)
    assert (clause.holds, clause.actual) == (holds, actual)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"all": [SICK, LARGE]}, False),
        ({"any": [SICK, LARGE]}, True),
        ({"not": LARGE}, True),
        ({"not": {"any": [SICK, LARGE]}}, False),
        ({"all": [SICK, {"not": LARGE}]}, True),
    ],
)
def test_conditions_are_put_together(condition: dict[str, Any], *, holds: bool) -> None:
    clause = judge(parsed(condition), FOUND.__getitem__)
    assert clause.holds is holds
    assert clause.parts
    assert failure(clause) or holds


def test_a_failure_says_what_was_wanted_and_what_there_was() -> None:
    clause = judge(parsed({"all": [SICK, LARGE]}), FOUND.__getitem__)
    assert failure(clause) == "volume in mL of lung in step mask is 3.5, wanted above 100"
    twice = judge(parsed({"not": {"any": [SICK, LARGE]}}), FOUND.__getitem__)
    assert "score of sick in step kind" in failure(twice)


def test_a_condition_is_described_in_words() -> None:
    condition = {"all": [SICK, {"any": [LARGE, {"not": {"step": "kind", "top": "well"}}]}]}
    assert describe(parsed(condition)) == (
        "score of sick in step kind is at least 0.5 and "
        "(volume in mL of lung in step mask is above 100 or "
        "not (likeliest label of step kind is well))"
    )


def test_of_several_inputs_the_highest_score_counts_and_volumes_are_summed() -> None:
    twice = {name: [*found, *found] for name, found in FOUND.items()}
    twice["kind"].append(Classification(label="sick", score=0.9))
    assert judge(parsed(SICK), twice.__getitem__).actual == 0.9
    assert judge(parsed(LARGE), twice.__getitem__).actual == 7.0
