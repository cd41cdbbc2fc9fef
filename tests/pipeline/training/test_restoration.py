"""Restoration: pairs of worse and better patches, and a judgement beside doing nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.errors import Interrupted, TrainingRefused
from pipeline.evaluation.fidelity import BEST_PSNR
from pipeline.models import networks, planes
from pipeline.models.devices import Device, one_thread
from pipeline.models.predictor import Checkpoint
from pipeline.models.restoration import RestorationPredictor
from pipeline.results import DerivedImage, Prediction
from pipeline.training import data, manifest, preparing, recipe, restoration
from pipeline.training.loop import Controls, train
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
    prepared = preparing.prepare(
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


@pytest.mark.parametrize(("foreground", "least", "most"), [(1.0, 0.9, 1.0), (0.0, 0.0, 0.5)])
def test_patches_show_what_is_no_air_as_often_as_is_asked(
    tmp_path: Path, foreground: float, least: float, most: float
) -> None:
    place = tmp_path / "case"
    place.mkdir()
    image = np.zeros((1, 16, 128, 128), np.float32)
    image[:, 4:12, 72:, 72:] = 0.5
    np.save(place / "image.npy", image)
    wanted = recipe.check(BESIDE | {"patches": 64, "foreground": foreground})
    prepared = data.Prepared(training=(place,), validation=())
    drawn = restoration.Restoration(recipe=wanted, prepared=prepared, device=CPU)
    shown = [bool(one.any()) for _, wanted in drawn.batches(0, 0) for one in wanted]
    assert len(shown) == 64
    assert least <= np.mean(shown) <= most


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


FLAT_EDSR: dict[str, Any] = {
    "name": "EDSR",
    "arguments": {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, **SMALL["EDSR"]},
}
BESIDE: dict[str, Any] = FINER | {
    "network": FLAT_EDSR | {"arguments": FLAT_EDSR["arguments"] | {"in_channels": 3}},
    "input": {"modalities": ["MR"], "spatial_dims": 2, "window": [0, 100], "size": [8, 8]},
    "options": {"scale": 2, "residual": True, "beside": 1},
}


def test_a_network_of_two_axes_is_shown_the_planes_beside_the_one_it_answers_for(
    tmp_path: Path,
) -> None:
    drawn = task(tmp_path, recipe.check(BESIDE))
    worse, wanted = next(drawn.batches(0, 0))
    assert worse.shape[1:] == (3, 8, 8)
    assert wanted.shape[1:] == (1, 16, 16)
    assert functional.avg_pool2d(wanted[:, 0], 2) == pytest.approx(worse[:, 1], abs=1e-6)
    assert float((worse[:, 0] - worse[:, 1]).abs().max()) > 0.01
    assert drawn.loss(drawn.network(), (worse, wanted))["pixels"].isfinite()


def test_a_mirrored_patch_has_the_planes_beside_it_in_the_other_order(tmp_path: Path) -> None:
    plain, mirrored = (
        next(task(tmp_path, recipe.check(BESIDE | {"augmentation": {"flip": flip}})).batches(0, 0))
        for flip in (0, 1)
    )
    for one, other in zip(plain, mirrored, strict=True):
        assert torch.equal(one, other.flip(1, 2, 3))


def test_the_first_and_the_last_plane_stand_for_what_is_beyond_them() -> None:
    for plane, around in ((0, [0, 0, 1]), (7, [6, 7, 8]), (15, [14, 15, 15])):
        assert planes.reaching(plane, plane + 1, 1, 16).tolist() == around
    assert planes.reaching(0, 3, 2, 3).tolist() == [0, 0, 0, 1, 2, 2, 2]


def test_adding_nothing_to_the_plane_in_the_middle_scores_as_stretching_it(tmp_path: Path) -> None:
    alone = BESIDE | {"network": FLAT_EDSR, "options": {"scale": 2, "residual": True}}
    scores = []
    for document in (BESIDE, alone):
        wanted = recipe.check(document)
        scores.append(task(tmp_path, wanted).score(mute(wanted)))
    assert scores[0] == pytest.approx(scores[1])


def test_a_network_that_adds_begins_with_what_it_adds_to(tmp_path: Path) -> None:
    wanted = recipe.check(BESIDE)
    drawn = task(tmp_path, wanted)
    assert drawn.score(drawn.network().eval()) == drawn.score(mute(wanted))
    alone = replace(drawn, recipe=recipe.check(BESIDE | {"options": {"scale": 2, "beside": 1}}))
    assert any(bool(one.any()) for one in alone.network().tail.parameters())


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


FEATURES = {"network": "resnet10", "arguments": {"widen_factor": 0.1}}
SEEN = {"features": {**FEATURES, "layers": ["conv1", "layer1"], "weight": 0.5}}
JUDGED = {"critic": {"features": 4, "layers": 1, "weight": 0.1}}


def test_a_loss_over_features_is_nothing_for_the_truth_and_more_for_what_is_blurred(
    tmp_path: Path,
) -> None:
    drawn = task(tmp_path, recipe.check(DENOISING | SEEN))
    wanted = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    network = mute(drawn.recipe)
    blurred = functional.avg_pool2d(wanted, 3, 1, 1)
    same, worse = (
        float(drawn.loss(network, (shown, wanted))["features"].detach())
        for shown in (wanted, blurred)
    )
    assert same == 0.0
    assert 0.05 < worse < 5.0
    again = task(tmp_path, recipe.check(DENOISING | SEEN)).loss(network, (blurred, wanted))
    assert float(again["features"].detach()) == worse  # its weights come of the seed


def test_what_features_are_taken_from_does_not_learn_but_what_restores_does(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(DENOISING | SEEN))
    network = drawn.network()
    batch = next(drawn.batches(0, 0))
    drawn.loss(network, batch)["features"].backward()  # type: ignore[no-untyped-call]
    assert all(weights.grad is not None for weights in network.parameters())
    (turn,) = drawn.turns(network)
    assert len(turn.parameters) == len([*network.parameters()])


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    document = DENOISING | {"features": {**FEATURES, "layers": ["layer9"]}}
    with pytest.raises(ValueError, match="layer9"):
        task(tmp_path, recipe.check(document)).network()


def test_a_critic_learns_to_tell_answers_from_images_in_a_turn_of_its_own(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(DENOISING | JUDGED))
    torch.manual_seed(0)
    network = drawn.network()
    restoring, critic = drawn.turns(network)
    batch = next(drawn.batches(0, 0))
    optimiser = torch.optim.Adam(critic.parameters, lr=0.01)
    told, fooled = [], []
    for _ in range(30):
        optimiser.zero_grad()
        loss = critic.loss(network, batch)
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        fooled.append(float(loss.detach()))
        told.append(float(drawn.loss(network, batch)["told"].detach()))
    assert all(weights.grad is None for weights in restoring.parameters)
    assert fooled[-1] < 0.3 * fooled[0]
    assert told[-1] > told[0]  # what restores has more to learn, the better its critic


def test_the_bundle_of_a_restoration_that_was_judged_holds_no_critic(tmp_path: Path) -> None:
    wanted = recipe.check(DENOISING | JUDGED)
    network = task(tmp_path, wanted).network()
    kept = restoration.bundle_weights(wanted, dict(network.state_dict()))
    shipped = networks.build(wanted.network.name, wanted.network.arguments)
    shipped.load_state_dict(kept)
    images = torch.rand(1, 1, 16, 16)
    assert torch.equal(shipped.eval()(images), network.eval()(images))


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (DENOISING | {"critic": {"layers": 3}}, "24 voxels"),
        (quick_training.SEGMENTATION | JUDGED, "restoration"),
        (quick_training.CLASSIFICATION | SEEN, "restoration"),
    ],
)
def test_critics_and_features_are_for_restorations_of_images_they_can_see(
    document: dict[str, Any], named: str
) -> None:
    with pytest.raises(TrainingRefused, match=named):
        recipe.check(document)


def test_a_judged_restoration_goes_on_to_the_bit_after_it_was_stopped(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(DENOISING | JUDGED | SEEN | {"epochs": 2}))
    whole, _ = train(drawn, drawn.recipe, "same", controls(tmp_path / "whole"))
    stops = iter([True])
    stopping = replace(controls(tmp_path / "parts"), is_stopping=lambda: next(stops, False))
    with pytest.raises(Interrupted):
        train(drawn, drawn.recipe, "same", stopping)
    parts, progress = train(drawn, drawn.recipe, "same", controls(tmp_path / "parts"))
    assert whole.keys() == parts.keys()
    assert any(name.startswith("critic.") for name in whole)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    losses = progress.history[-1].losses
    assert any("critic" in name for name in losses)
    assert any("features" in name for name in losses)


def controls(checkpoint: Path) -> Controls:
    return Controls(
        checkpoint=checkpoint,
        device=CPU,
        is_stopping=lambda: False,
        on_epoch=lambda _: None,
    )


def test_adding_nothing_scores_as_the_noise_is_strong(tmp_path: Path) -> None:
    document = DENOISING | {"degradation": {"noise": [0.05, 0.05]}, "input": DENOISING["input"]}
    drawn = task(tmp_path, recipe.check(document))
    score = drawn.score(mute(drawn.recipe))
    assert score == drawn.score(mute(drawn.recipe))
    assert score == pytest.approx(-20 * np.log10(0.05), abs=1.5)  # black holds some noise back


@pytest.mark.parametrize(
    # to what was stretched linearly; the baseline is stretched by cubic interpolation
    ("document", "apart"),
    [(DENOISING, 0.2), (FINER, 2.0)],
    ids=["denoising", "finer"],
)
def test_adding_nothing_is_judged_as_good_as_no_model(
    tmp_path: Path, document: dict[str, Any], apart: float
) -> None:
    wanted = recipe.check(document)
    predictor = RestorationPredictor(wanted.spec("1"), mute(wanted), Device("cpu"))
    judged = [
        restoration.judge(case, wanted, predictor, checkpoint=lambda: None)
        for case in snapshot(tmp_path, wanted).part(Part.HELD_OUT)
    ]
    assert judged
    for case in judged:
        assert case.answer.psnr == pytest.approx(case.baseline.psnr, abs=apart)
        assert case.answer.ssim == pytest.approx(case.baseline.ssim, abs=apart / 20)


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
