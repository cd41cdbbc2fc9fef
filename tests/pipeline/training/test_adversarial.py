"""Adversarial training: what misleads is learnt from, and then misleads less."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import TrainingRefused
from pipeline.training import attacks
from pipeline.training.adversarial import Adversarial
from pipeline.training.wrapping import total
from tests import quick_variants as quick
from tests.pipeline.training.test_objects import BORDER, MASK_RCNN


def task(folder: Path, document: dict, **stated: object) -> Adversarial:
    wanted = quick.check(document, adversarial={"method": "fgsm", "epsilon": 0.2} | stated)
    make = quick.images if wanted.kind == "classification" else quick.squares
    assert wanted.adversarial is not None
    return Adversarial(inner=quick.kind_task(wanted, make(folder)), wanted=wanted.adversarial)


@pytest.mark.parametrize("document", [quick.PLAIN, quick.FLAT], ids=lambda one: one["kind"])
def test_both_losses_have_their_share_and_the_attacked_one_is_the_larger(
    tmp_path: Path, document: dict
) -> None:
    torch.manual_seed(0)
    drawn = task(tmp_path, document, share=0.25)
    network = drawn.network().eval()
    batch = next(drawn.batches(0, 0))
    losses = drawn.loss(network, batch)
    assert isinstance(losses, dict)
    plain = total(drawn.inner.loss(network, batch))
    assert torch.allclose(losses["plain"], 0.75 * plain)
    assert bool(losses["attacked"] / 0.25 > plain)


def test_with_the_whole_share_only_attacked_images_are_learnt_from(tmp_path: Path) -> None:
    drawn = task(tmp_path, quick.PLAIN, share=1.0)
    losses = drawn.loss(drawn.network(), next(drawn.batches(0, 0)))
    assert isinstance(losses, dict)
    assert set(losses) == {"attacked"}


def test_it_leaves_a_network_in_training_with_gradients_of_its_weights_alone(
    tmp_path: Path,
) -> None:
    drawn = task(tmp_path, quick.PLAIN)
    network = drawn.network().train()
    batch = next(drawn.batches(0, 0))
    total(drawn.loss(network, batch)).backward()
    assert network.training
    assert all(one.grad is not None for one in network.parameters())
    assert batch[0].grad is None
    assert not batch[0].requires_grad


def test_what_is_learnt_under_attack_is_harder_to_attack(tmp_path: Path) -> None:
    drawn = task(tmp_path, quick.PLAIN, share=1.0, epsilon=0.15)
    risen = {}
    for name, learnt in (("defended", drawn), ("plain", drawn.inner)):
        torch.manual_seed(0)
        network = drawn.network().train()
        moving = torch.optim.AdamW(network.parameters(), 0.02)
        for epoch in range(20):
            for batch in learnt.batches(epoch, 0):
                moving.zero_grad()
                total(learnt.loss(network, batch)).backward()
                moving.step()
        images, *truth = next(drawn.batches(0, 0))
        with attacks.as_in_use(network):
            hit = attacks.attacked(
                images,
                lambda seen, net=network, rest=tuple(truth): total(
                    drawn.inner.loss(net, (seen, *rest))
                ),
                drawn.wanted,
                0.15,
            )
            risen[name] = float(total(drawn.inner.loss(network, (hit, *truth))).detach())
    assert risen["defended"] < risen["plain"]


@pytest.mark.parametrize(
    "block",
    [
        {"adversarial": {"epsilon": 0.1}},
        {"semi_supervised": {}},
        {"pretraining": {"method": "contrastive", "epochs": 1}},
        {"generated": {"per_class": 1, "epochs": 1}},
        {"evaluation": {"robustness": {"epsilons": [0, 0.1]}}},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_is_not_for_a_kind_is_refused(block: dict) -> None:
    with pytest.raises(TrainingRefused, match="only a classification or a segmentation"):
        quick.check(quick.quick_training.RESTORATION, **block)


@pytest.mark.parametrize(
    "block",
    [
        {"adversarial": {"epsilon": 0.1}},
        {"semi_supervised": {}},
        {"pretraining": {"method": "contrastive", "epochs": 1}},
        {"pretraining": {"method": "masked-autoencoder", "epochs": 1}},
        {"evaluation": {"robustness": {"epsilons": [0, 0.1]}}},
    ],
    ids=str,
)
def test_what_learns_from_single_objects_is_trained_plainly(block: dict) -> None:
    with pytest.raises(TrainingRefused, match=f"{next(iter(block))}.*single objects"):
        quick.check(MASK_RCNN, **block)


def test_objects_that_are_told_apart_are_not_attacked() -> None:
    with pytest.raises(TrainingRefused, match="told apart are not attacked"):
        quick.check(BORDER, evaluation={"robustness": {"epsilons": [0, 0.1]}})
    assert quick.check(BORDER, adversarial={"epsilon": 0.1}).tells_objects_apart


def test_a_teacher_and_an_average_are_one_too_many() -> None:
    with pytest.raises(TrainingRefused, match="average already"):
        quick.check(quick.PLAIN, semi_supervised={}, optimiser={"ema": 0.9})


def test_a_network_begins_with_the_weights_of_one_place() -> None:
    pretraining = {"method": "contrastive", "epochs": 1}
    with pytest.raises(TrainingRefused, match="already"):
        quick.check(quick.PLAIN, pretraining=pretraining, transfer={"source": "other@1.0"})


def test_older_recipes_keep_their_digest() -> None:
    assert not set(quick.check(quick.PLAIN).stated()) & {
        "pretraining",
        "semi_supervised",
        "adversarial",
        "generated",
    }
