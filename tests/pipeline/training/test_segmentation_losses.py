"""Losses of a segmentation: nothing for the truth, and known numbers for what is wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pipeline.training.segmentation_losses import LOSSES

SURE = 30.0


def says(labels: Tensor, classes: int = 3, sure: float = SURE) -> Tensor:
    """Return logits (1, classes, ...) that answer with ``labels``."""
    logits = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1)
    return sure * logits.float()


def halves() -> tuple[Tensor, Tensor]:
    """Return masks (1, 1, 4, 4) whose rows are 0, 0, 1, 2, and an answer that misses label 2."""
    masks = torch.tensor([0, 0, 1, 2]).reshape(1, 1, 4, 1).expand(1, 1, 4, 4)
    return masks, torch.where(masks == 2, 0, masks)[:, 0]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_truth_costs_nothing(name: str) -> None:
    masks, _ = halves()
    assert float(LOSSES[name](says(masks[:, 0]), masks)) == pytest.approx(0.0, abs=1e-4)


def test_what_is_wrong_costs_what_its_name_says() -> None:
    masks, found = halves()
    cost = {name: float(loss(says(found), masks)) for name, loss in LOSSES.items()}
    # label 1 is found, label 2 is not: the mean over both; a quarter of the voxels is surely wrong
    assert cost["dice-cross-entropy"] == pytest.approx(0.5 + SURE / 4, abs=1e-3)
    assert cost["tversky"] == pytest.approx(0.5, abs=1e-3)
    # focal loss: the mean over voxels and classes, those of background and of label 2 are wrong
    assert cost["dice-focal"] == pytest.approx(0.5 + SURE / 4 / 3, rel=1e-3)
    # weights 1 / size^2 of 8, 4 and 4 voxels; the answers have 12, 4 and 0 of them
    weights, sizes, found_sizes, hits = [1 / 64, 1 / 16, 1 / 16], [8, 4, 4], [12, 4, 0], [8, 4, 0]
    both = sum(w * hit for w, hit in zip(weights, hits, strict=True))
    whole = sum(w * (a + b) for w, a, b in zip(weights, sizes, found_sizes, strict=True))
    assert cost["generalised-dice"] == pytest.approx(1 - 2 * both / whole, abs=1e-4)


def test_missing_a_voxel_costs_more_by_tversky_than_finding_one_in_vain() -> None:
    masks = torch.zeros(1, 1, 10, 10, dtype=torch.int64)
    masks[..., :5] = 1
    less, more = masks[:, 0].clone(), masks[:, 0].clone()
    less[..., 4], more[..., 5] = 0, 1
    missed, in_vain = (float(LOSSES["tversky"](says(one, 2), masks)) for one in (less, more))
    assert missed == pytest.approx(1 - 40 / (40 + 0.7 * 10), abs=1e-4)
    assert in_vain == pytest.approx(1 - 50 / (50 + 0.3 * 10), abs=1e-4)


def test_focal_loss_makes_little_of_what_is_nearly_right() -> None:
    masks = torch.ones(1, 1, 4, 4, dtype=torch.int64)
    nearly = says(masks[:, 0], 2, sure=math.log(9.0))  # 0.9 for the truth
    cost = {name: float(LOSSES[name](nearly, masks)) for name in ("dice-focal", "tversky")}
    dice = 1 - 2 * 0.9 / 1.9
    # -(1 - p)^2 log p of the two classes, of which only the true one counts
    assert cost["dice-focal"] == pytest.approx(dice - 0.01 * math.log(0.9) / 2, abs=1e-4)
