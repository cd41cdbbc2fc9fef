"""Every detector is told its targets as it has them, and the focal loss is the one of the paper."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.training import detectors, recipe
from pipeline.training.detectors import FocalLoss, TorchvisionDetector
from tests.pipeline.training.test_detection import document


class Told(nn.Module):
    """Keeps the targets that it was told."""

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        self.targets = targets
        return {"loss": torch.stack(images).sum()}


@pytest.mark.parametrize(
    ("name", "first"), [("torchvision.faster_rcnn", 1), ("torchvision.retinanet", 0)]
)
def test_torchvision_is_told_columns_first_and_numbers_of_its_own(name: str, first: int) -> None:
    told = Told()
    target = {
        "boxes": torch.tensor([[1.0, 2.0, 5.0, 9.0]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 6, 10),
    }
    detector = TorchvisionDetector(recipe.check(document(name)))
    assert detector.losses(told, [torch.ones(1, 6, 10)], [target])["loss"] == 60
    (turned,) = told.targets
    assert turned["boxes"].tolist() == [[2, 1, 9, 5]]
    assert turned["labels"].tolist() == [1 + first]
    assert turned["masks"] is target["masks"]


def test_the_focal_loss_by_hand() -> None:
    logits, matched = torch.tensor([[0.0, 2.0], [-1.0, 0.0]]), torch.tensor([[1.0, 0], [0, 0]])
    sure = torch.sigmoid(torch.tensor([2.0, -1.0])).tolist()
    expected = -0.25 * 0.25 * torch.tensor(0.5).log()  # of the one that is matched
    for share in (*sure, 0.5):  # of those that are not
        expected -= 0.75 * share**2 * torch.tensor(1 - share).log()
    assert FocalLoss()(logits, matched).item() == pytest.approx(expected.item())
    twice = torch.cat([logits, logits]), torch.cat([matched, matched])
    assert FocalLoss()(*twice).item() == pytest.approx(expected.item())  # for each match
    nothing = FocalLoss()(logits, torch.zeros(2, 2))
    assert torch.isfinite(nothing)


def test_only_what_answers_goes_into_a_bundle() -> None:
    wanted = recipe.check(document())
    network: Any = detectors.of(wanted).network()
    kept = detectors.bundle_weights(wanted, network.state_dict())
    assert kept.keys() == network.network.state_dict().keys()
    plain = recipe.check(document("torchvision.retinanet"))
    assert detectors.bundle_weights(plain, {"head": torch.ones(1)}).keys() == {"head"}
