"""What is kept of every case: it comes back as it was, and nonsense is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.evaluation import scores
from pipeline.evaluation.fidelity import Fidelity
from pipeline.evaluation.scores import Boxes, Overlap, Restored, ScoresRefused
from tests.pipeline.evaluation import made_scores

RESTORED = Restored(answer=Fidelity(psnr=30.0, ssim=0.9), baseline=Fidelity(psnr=25.0, ssim=0.7))
KEPT = {
    "classification": made_scores.binary([0, 1], [0.1, 0.7], groups=[{"sex": "female"}, {}]),
    "segmentation": made_scores.scores(
        "segmentation",
        ["lung"],
        [{"overlaps": (Overlap(true_size=1.5, found_size=0.0, unit="ml", dice=0.0),)}],
    ),
    "detection": made_scores.scores(
        "detection",
        ["nodule"],
        [{"boxes": (Boxes(truths=1, scores=(0.9, 0.1), overlaps=((0.1,), (1 / 3,))),)}],
    ),
    "restoration": made_scores.scores("restoration", [], [{"restored": RESTORED}]),
}


@pytest.mark.parametrize("kind", KEPT)
def test_scores_come_back_as_they_were_kept(kind: str) -> None:
    text = KEPT[kind].dump()
    assert scores.parse(text) == KEPT[kind]
    assert scores.parse(text).dump() == text


def without_a_label(document: dict[str, Any]) -> None:
    document["labels"] = ["a"]


def with_a_case_twice(document: dict[str, Any]) -> None:
    document["cases"][1] = document["cases"][0]


def with_a_name(document: dict[str, Any]) -> None:
    document["cases"][0]["patient"] = "Mrs Example"


def with_what_is_unknown(document: dict[str, Any]) -> None:
    document["cases"][0]["__import__"] = "os"


def of_another_kind(document: dict[str, Any]) -> None:
    document["kind"] = "detection"


def with_a_truth_beyond_the_labels(document: dict[str, Any]) -> None:
    document["cases"][0]["classified"]["truth"] = 2


@pytest.mark.parametrize(
    "spoil",
    [
        without_a_label,
        with_a_case_twice,
        with_a_name,
        with_what_is_unknown,
        of_another_kind,
        with_a_truth_beyond_the_labels,
    ],
)
def test_what_is_not_of_this_form_is_refused(spoil: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(KEPT["classification"].dump())
    spoil(document)
    with pytest.raises(ScoresRefused) as refused:
        scores.parse(json.dumps(document))
    assert "Mrs Example" not in refused.value.sentence


@pytest.mark.parametrize("text", ["", "{", "[]", "NaN"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ScoresRefused):
        scores.parse(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"truths": 1, "scores": (0.5,), "overlaps": ()},
        {"truths": 2, "scores": (0.5,), "overlaps": ((0.1,),)},
        {"truths": 1, "scores": (0.5, 0.9), "overlaps": ((0.1,), (0.2,))},
        {"truths": 1, "scores": (float("nan"),), "overlaps": ((0.1,),)},
    ],
    ids=["no row", "no column", "not best first", "no number"],
)
def test_boxes_hold_together(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Boxes(**fields)
