"""Restoration: pairs of worse and better patches, and a judgement beside doing nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.evaluation.fidelity import BEST_PSNR
from pipeline.models import networks
from pipeline.models.devices import Device, one_thread
from pipeline.models.predictor import Checkpoint
from pipeline.models.restoration import RestorationPredictor
from pipeline.results import DerivedImage, Prediction
from pipeline.training import data, manifest, recipe, restoration
from pipeline.training.manifest import Part, Snapshot
from pipeline.training.recipe import Recipe
from pipeline.volume import Image, Input
from tests import quick_training
from tests.pipeline.models.table.small import SMALL

CPU = torch.device("cpu")
DENOISING = quick_training.RESTORATION
FINER: dict[str, Any] = DENOISING | {
    "network": {
        "name": "SubpixelNet",
        "arguments": {"spatial_dims": 3, "in_channels": 1, "out_channels": 1, "features": [4]},
    },
    "input": {"modalities": ["MR"], "spatial_dims": 3, "window": [0, 100], "size": [8, 8, 8]},
    "degradation": {"downsample": 2},
    "options": {"scale": 2, "residual": True},
    "augmentation": {},
}


def snapshot(folder: Path, wanted: Recipe) -> Snapshot:
    return manifest.freeze(quick_training.write_balls(folder, "restoration"), wanted)


def task(folder: Path, wanted: Recipe) -> restoration.Restoration:
    prepared = data.prepare(
        snapshot(folder, wanted),
        wanted,
        restoration.preparation(wanted),
        folder / "kept",
        checkpoint=lambda: None,
    )
    return restoration.Restoration(recipe=wanted, prepared=prepared, device=CPU)


def mute(wanted: Recipe) -> nn.Module:
    """Return the network of a recipe that answers nothing but zeros."""
    network = networks.build(wanted.network.name, wanted.network.arguments)
    for weights in network.parameters():
        nn.init.zeros_(weights)
    return network.eval()


def test_what_a_network_sees_is_the_noisy_form_of_what_it_should_answer(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(DENOISING | {"degradation": {"noise": [0.1, 0.1]}}))
    for worse, wanted in drawn.batches(0, 0):
        assert worse.shape == wanted.shape
        assert worse.shape[1:] == (1, 16, 16)
        inside = (wanted > 0.3) & (wanted < 0.9)
        noise = (worse - wanted)[inside if inside.sum() > 30 else wanted > 0.05]
        assert 0.05 < float(noise.std()) < 0.12


def test_patches_of_one_epoch_are_the_same_again_and_others_in_the_next(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(DENOISING))
    first, again, later = (next(drawn.batches(epoch, 0))[0] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_the_answer_of_higher_resolution_is_finer_than_what_is_seen(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(FINER))
    worse, wanted = next(drawn.batches(0, 0))
    assert worse.shape[1:] == (1, 8, 8, 8)
    assert wanted.shape[1:] == (1, 16, 16, 16)
    assert torch.nn.functional.avg_pool3d(wanted, 2) == pytest.approx(worse, abs=1e-6)
    assert drawn.loss(drawn.network(), (worse, wanted))["pixels"].isfinite()


@pytest.mark.parametrize("name", ["EDSR", "RCAN", "SRResNet", "DenoisingAutoEncoder"])
def test_networks_of_ours_learn_from_such_pairs(tmp_path: Path, name: str) -> None:
    is_finer = networks.TABLE[name].scale is not None
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, **SMALL[name]}
    document = DENOISING | {
        "network": {"name": name, "arguments": arguments},
        "degradation": {"downsample": 2} if is_finer else {"noise": [0.1, 0.1]},
        "options": {"scale": 2 if is_finer else 1, "residual": False},
    }
    drawn = task(tmp_path, recipe.check(document))
    torch.manual_seed(3)
    network, batch = drawn.network(), next(drawn.batches(0, 0))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.003)
    losses = []
    with one_thread():
        for _ in range(40):
            optimiser.zero_grad()
            loss = drawn.loss(network, batch)["pixels"]
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.item())
            optimiser.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("loss", ["l1", "l2", "charbonnier"])
def test_losses_over_pixels_are_what_their_names_say(tmp_path: Path, loss: str) -> None:
    drawn = task(tmp_path, recipe.check(DENOISING | {"loss": loss}))
    wanted = torch.full((2, 1, 16, 16), 0.25)
    expected = {"l1": 0.25, "l2": 0.0625, "charbonnier": (0.0625 + 1e-6) ** 0.5}
    found = drawn.loss(mute(drawn.recipe), (torch.zeros_like(wanted), wanted))
    assert found.keys() == {"pixels"}
    assert float(found["pixels"].detach()) == pytest.approx(expected[loss])


def test_adding_nothing_scores_as_the_noise_is_strong(tmp_path: Path) -> None:
    document = DENOISING | {"degradation": {"noise": [0.05, 0.05]}, "input": DENOISING["input"]}
    drawn = task(tmp_path, recipe.check(document))
    score = drawn.score(mute(drawn.recipe))
    assert score == drawn.score(mute(drawn.recipe))
    assert score == pytest.approx(-20 * np.log10(0.05), abs=1.5)  # black holds some noise back


@pytest.mark.parametrize("document", [DENOISING, FINER], ids=["denoising", "finer"])
def test_adding_nothing_is_judged_as_good_as_no_model(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    wanted = recipe.check(document)
    predictor = RestorationPredictor(wanted.spec("1"), mute(wanted), Device("cpu"))
    judged = [
        restoration.judge(case, wanted, predictor, checkpoint=lambda: None)
        for case in snapshot(tmp_path, wanted).part(Part.HELD_OUT)
    ]
    assert judged
    for case in judged:
        assert case.answer.psnr == pytest.approx(case.baseline.psnr, abs=0.2)
        assert case.answer.ssim == pytest.approx(case.baseline.ssim, abs=0.01)


class Remembers:
    """Answers with the image as it was."""

    def __init__(self, wanted: Recipe, image: Input) -> None:
        self.spec = wanted.spec("1")
        self._image = image

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        checkpoint()
        assert isinstance(self._image, Image)
        assert isinstance(image, Image)
        assert image.pixels.shape == self._image.pixels.shape
        derived = DerivedImage(name="as it was", values=self._image.pixels, affine=None)
        return Prediction(findings=(), derived=(derived,))


def test_the_image_as_it_was_is_the_best_there_is(tmp_path: Path) -> None:
    wanted = recipe.check(DENOISING)
    case = snapshot(tmp_path, wanted).part(Part.HELD_OUT)[0]
    knows = Remembers(wanted, data.read_image(case, wanted))
    judged = restoration.judge(case, wanted, knows, checkpoint=lambda: None)
    assert judged.answer.psnr == BEST_PSNR
    assert judged.baseline.psnr < 40
