"""What is said of a model, of all cases and of subgroups."""

from __future__ import annotations

import json

import pytest

from pipeline.evaluation import summary
from pipeline.evaluation.fidelity import Fidelity
from pipeline.evaluation.scores import Boxes, Overlap, Restored, Scores
from tests.pipeline.evaluation import made_scores

OVERLAPS = [
    Overlap(true_size=2.0, found_size=2.0, unit="ml", dice=dice, surface_dice=dice, hd95_mm=1.0)
    for dice in (0.7, 0.2, 0.9)
]
BOXES = [
    Boxes(truths=2, scores=(0.9,), overlaps=((0.8, 0.0),)),
    Boxes(truths=1, scores=(0.8,), overlaps=((0.9,),)),
]
OF_EACH_KIND = {
    "classification": made_scores.binary([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2]),
    "segmentation": made_scores.scores(
        "segmentation", ["lung"], [{"overlaps": (one,)} for one in OVERLAPS]
    ),
    "detection": made_scores.scores("detection", ["nodule"], [{"boxes": (one,)} for one in BOXES]),
    "restoration": made_scores.scores(
        "restoration",
        [],
        [
            {
                "restored": Restored(
                    answer=Fidelity(psnr=psnr, ssim=0.9), baseline=Fidelity(psnr=25.0, ssim=0.7)
                )
            }
            for psnr in (30.0, 28.0)
        ],
    ),
}


@pytest.mark.parametrize("kind", OF_EACH_KIND)
def test_a_summary_is_plain_json_with_intervals_around_values(kind: str) -> None:
    found = summary.summarise(OF_EACH_KIND[kind])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    stated = [found, *found.get("labels", {}).values()]
    intervals = [
        one
        for part in stated
        for one in part.values()
        if isinstance(one, dict) and one.get("low") is not None
    ]
    assert len(intervals) >= 4
    for one in intervals:
        assert one["low"] <= one["value"] <= one["high"]


def test_restorations_stand_beside_no_model_at_all() -> None:
    found = summary.summarise(OF_EACH_KIND["restoration"])
    assert found["psnr_db"]["value"] == 29.0
    assert found["psnr_gain_db"]["value"] == 4.0
    assert found["ssim_gain"]["value"] == pytest.approx(0.2)
    assert found["without_model"] == {"psnr_db": 25.0, "ssim": 0.7}


def test_intervals_resample_patients_not_cases() -> None:
    # one patient with many right cases, one with a single wrong one: the interval spans both
    scores = made_scores.binary([0] * 51, [0.1] * 50 + [0.9], patients=["a"] * 50 + ["b"])
    found = summary.summarise(scores)
    assert (found["cases"], found["patients"]) == (51, 2)
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == (0.0, 1.0)


def test_patients_are_counted_that_bear_on_the_number() -> None:
    scores = made_scores.binary([0, 0, 0, 1, 1], [0.1, 0.2, 0.9, 0.8, 0.7], patients="aabcc")
    of_b = summary.summarise(scores)["labels"]["b"]
    assert of_b["recall"]["patients"] == 1
    assert of_b["specificity"]["patients"] == 2
    assert of_b["precision"]["patients"] == 2
    assert of_b["auc"]["patients"] == 1


def grouped() -> Scores:
    truth, given = [0, 0, 1, 1, 1, 0, 1, 0], [0.1, 0.2, 0.9, 0.8, 0.3, 0.6, 0.9, 0.1]
    groups = [{"sex": "female", "site": "north"}] * 5 + [{"sex": "male"}] * 2 + [{}]
    return made_scores.binary(truth, given, groups=groups)


def test_subgroups_are_measured_by_their_own_cases() -> None:
    found = summary.by_subgroup(grouped())
    assert list(found) == ["sex", "site"]
    assert list(found["sex"]) == ["female", "male", summary.NOT_STATED]
    assert found["sex"]["female"]["cases"] == 5
    assert found["sex"]["female"]["accuracy"]["value"] == pytest.approx(4 / 5)
    assert found["site"][summary.NOT_STATED]["accuracy"]["value"] == pytest.approx(2 / 3)


def test_too_few_patients_are_said_to_be_too_few() -> None:
    found = summary.by_subgroup(grouped())["sex"]
    assert found["male"]["accuracy"] == {"patients": 2, "is_too_few": True}
    # five women, but only two of them bear on this
    assert found["female"]["labels"]["b"]["specificity"] == {"patients": 2, "is_too_few": True}
    assert found["female"]["labels"]["b"]["recall"]["value"] == pytest.approx(2 / 3)


def test_a_manifest_without_groups_has_no_subgroups() -> None:
    assert summary.by_subgroup(OF_EACH_KIND["classification"]) == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("classification", [(2, 0.4), (3, 0.8)]),
        ("segmentation", [(1, 0.2), (0, 0.7)]),
        ("detection", [(0, 0.5), (1, 1.0)]),
        ("restoration", [(1, 28.0), (0, 30.0)]),
    ],
)
def test_the_worst_cases_come_first(kind: str, expected: list[tuple[int, float]]) -> None:
    assert summary.worst(OF_EACH_KIND[kind], 2) == [
        (place, pytest.approx(value)) for place, value in expected
    ]


def test_no_case_at_all_is_counted_and_measured_by_nothing() -> None:
    found = summary.summarise(OF_EACH_KIND["classification"].of_cases([]))
    assert found == {"cases": 0, "patients": 0}
