"""Held-out cases under attack, by models whose breaking point is known in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.errors import TrainingRefused
from pipeline.evaluation import comparison, page, summary
from pipeline.evaluation import scores as kept_scores
from pipeline.evaluation.comparison import Decision, Question
from pipeline.evaluation.scores import Scores
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.planes import PlanesPredictor
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.training import judging, manifest
from pipeline.training.manifest import Part
from pipeline.training.robustness import Robustness
from tests import quick_training
from tests import quick_variants as quick

_PREDICTORS = {
    ("classification", 2): ClassificationPredictor,
    ("segmentation", 2): PlanesPredictor,
    ("segmentation", 3): SegmentationPredictor,
}
#: what is darker is of one class, what is brighter of the other
BORDER = 0.45


class ByMean(nn.Module):
    """Dark or bright, by the mean of an image."""

    def forward(self, images: Tensor) -> Tensor:
        above = 9.0 * (images.flatten(1).mean(1) - BORDER)
        return torch.stack([-above, above], 1)


class ByValue(nn.Module):
    """Dark or bright, voxel by voxel."""

    def forward(self, images: Tensor) -> Tensor:
        above = 9.0 * (images[:, 0] - BORDER)
        return torch.stack([-above, above], 1)


def judged(folder: Path, document: dict[str, Any], epsilons: list[float], **attack: Any) -> Scores:
    """Judge the model for a kind with its predictor, and then under attack."""
    asked = {"robustness": {"epsilons": epsilons} | attack, "least_patients": 1}
    wanted = quick.check(document, evaluation=asked)
    is_whole = wanted.kind == "classification"
    path = (
        quick_training.write_images(folder, 32)
        if is_whole
        else quick_training.write_balls(folder, wanted.kind)
    )
    cases = manifest.freeze(path, wanted).part(Part.HELD_OUT)
    network = ByMean() if is_whole else ByValue()
    make = _PREDICTORS[wanted.kind, wanted.input.spatial_dims]
    predictor = make(wanted.spec("1.0"), network, Device("cpu"))
    clean = judging.judge(cases, wanted, predictor, checkpoint=lambda: None)
    attacking = Robustness(recipe=wanted, network=network, device=torch.device("cpu"))
    return attacking.measured(clean, cases, checkpoint=lambda: None)


def value(metrics: dict[str, Any], name: str) -> float:
    return float(metrics[name]["value"])


@pytest.mark.parametrize("attack", [{"method": "fgsm"}, {"method": "pgd", "steps": 5}])
def test_a_classification_breaks_where_its_margin_ends(
    tmp_path: Path, attack: dict[str, Any]
) -> None:
    # means are near 0.2 and 0.7, 0.25 from the border
    scores = judged(tmp_path, quick.PLAIN, [0, 0.15, 0.4], **attack)
    for case in scores.cases:
        clean, attacked = case.classified, case.attacked[0].classified
        assert clean is not None
        assert attacked is not None
        assert np.allclose(attacked.scores, clean.scores, atol=1e-6)
    metrics = summary.summarise(scores)
    name = f"accuracy_under_{attack['method']}"
    assert value(metrics, f"{name}_0") == value(metrics, "accuracy") == 1.0
    assert value(metrics, f"{name}_0.15") == 1.0
    assert value(metrics, f"{name}_0.4") == 0.0


def test_a_segmentation_with_no_bound_to_cross_is_as_without_an_attack(tmp_path: Path) -> None:
    # balls are 0.7 to 0.9, all else 0 to 0.2
    scores = judged(tmp_path, quick_training.SEGMENTATION, [0, 0.2, 0.7], method="fgsm")
    for case in scores.cases:
        assert case.attacked[0].overlaps[0].dice == case.overlaps[0].dice
    ball = summary.summarise(scores)["labels"]["ball"]
    assert value(ball, "dice_under_fgsm_0") == value(ball, "dice") == 1.0
    assert value(ball, "dice_under_fgsm_0.2") == 1.0
    assert value(ball, "dice_under_fgsm_0.7") == 0.0


def test_planes_are_attacked_one_by_one(tmp_path: Path) -> None:
    document = quick_training.SEGMENTATION | {
        "network": quick.FLAT["network"],
        "input": quick_training.SEGMENTATION["input"] | {"spatial_dims": 2, "size": [16, 16]},
    }
    scores = judged(tmp_path, document, [0, 0.7], method="fgsm")
    ball = summary.summarise(scores)["labels"]["ball"]
    assert value(ball, "dice_under_fgsm_0") == value(ball, "dice") == 1.0
    assert value(ball, "dice_under_fgsm_0.7") == 0.0


def test_what_was_found_is_kept_compared_and_shown(tmp_path: Path) -> None:
    scores = judged(tmp_path, quick.PLAIN, [0, 0.4], method="fgsm")
    assert kept_scores.parse(scores.dump()) == scores
    question = Question(statistic="accuracy_under_fgsm_0.4", least_patients=1)
    assert comparison.compare(scores, scores, question).decision is Decision.NOT_WORSE
    heading = page.Heading(title="t", lines=[], warnings=[])
    shown = page.render(heading, scores, summary.summarise(scores))
    assert "accuracy under fgsm 0.4" in shown
    assert "under fgsm</em> are those of inputs changed" in shown


def test_every_case_is_attacked_or_none(tmp_path: Path) -> None:
    scores = judged(tmp_path, quick.PLAIN, [0, 0.4], method="fgsm")
    stated = scores.model_dump(mode="json")
    stated["cases"][0]["attacked"].pop()
    with pytest.raises(ValidationError, match="equally strongly"):
        Scores.model_validate(stated)


@pytest.mark.parametrize("epsilons", [[], [0.1, 0.0], [0.1, 0.1], [2.0]])
def test_bounds_rise_within_an_image(epsilons: list[float]) -> None:
    with pytest.raises(TrainingRefused, match="robustness"):
        quick.check(quick.PLAIN, evaluation={"robustness": {"epsilons": epsilons}})
