"""Several series as the channels of our own models that segment or classify."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.asking import Explain
from pipeline.errors import ModelMismatch
from pipeline.models import bundle, networks, predictors
from pipeline.models.devices import Device
from pipeline.models.predictor import TakesChannels
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Classification
from pipeline.volume import Channels, Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on


class Brighter(nn.Module):
    """Answers 1 where the first channel is brighter than the second, by a tenth of the window."""

    def forward(self, image: Tensor) -> Tensor:
        first, second = image[:, :1], image[:, 1:]
        return torch.cat([torch.full_like(first, 0.1), first - second], 1)


def predictor(network: nn.Module, **changes: Any) -> SegmentationPredictor:
    stated: dict[str, Any] = {
        "modalities": ("MR",),
        "spatial_dims": 3,
        "channels": 2,
        "window": (0.0, 1000.0),
        "size": (16, 16, 16),
    }
    options = changes.pop("options", {})
    spec = tiny.unet_spec(input=InputSpec(**{**stated, **changes}), options=options)
    return SegmentationPredictor(spec, network, Device())


def noise(seed: int, **changes: Any) -> Volume:
    stored = np.random.default_rng(seed).integers(0, 1000, (12, 20, 18)).astype(np.int16)
    return tiny.volume(**{"stored": stored, "unit": "", **changes})


def label(answering: SegmentationPredictor, *volumes: Volume) -> NDArray[np.uint8]:
    found = answering.predict_channels(Channels(volumes=volumes), checkpoint=go_on).label_map
    assert found is not None
    return found


@pytest.mark.parametrize("orientation", [None, "RAS", "SPL"])
def test_channels_are_compared_voxel_by_voxel_in_their_order(orientation: str | None) -> None:
    first, second = noise(1), noise(2)
    answering = predictor(Brighter(), orientation=orientation)
    for one, other in ((first, second), (second, first)):
        difference = one.stored.astype(int) - other.stored
        sure = difference != 100
        found = label(answering, one, other)
        np.testing.assert_array_equal(found[sure], (difference > 100)[sure])


def test_each_series_keeps_its_own_rescale() -> None:
    first, second = noise(1), noise(2)
    turned = replace(second, stored=(1000 - second.stored).astype(np.int16), slope=-1.0)
    turned = replace(turned, intercept=1000.0)
    answering = predictor(Brighter())
    np.testing.assert_array_equal(label(answering, first, turned), label(answering, first, second))


class Brightest(nn.Module):
    """Answers 1 where any of two channels is above a half."""

    def forward(self, image: Tensor) -> Tensor:
        brightest = image.amax(1, keepdim=True)
        return torch.cat([torch.full_like(brightest, 0.5), brightest], 1)


def test_the_foreground_is_what_any_series_shows() -> None:
    stored = np.zeros((2, 40, 30, 30), np.int16)
    stored[0, 3:5, 4:6, 5:7] = 900
    stored[1, 30:33, 20:22, 9:12] = 900
    first, second = (tiny.volume(stored=one, unit="") for one in stored)
    answering = predictor(Brightest(), options={"crop_foreground": True})
    np.testing.assert_array_equal(label(answering, first, second), (stored > 0).any(axis=0))
    empty = replace(first, stored=np.zeros_like(first.stored))
    assert not label(answering, empty, empty).any()
    np.testing.assert_array_equal(label(answering, empty, second), stored[1] > 0)


def test_another_number_of_series_is_refused() -> None:
    answering = predictor(Brighter())
    assert isinstance(answering, TakesChannels)
    with pytest.raises(ModelMismatch, match="needs 2 series as channels, there are 3"):
        label(answering, noise(1), noise(2), noise(3))
    with pytest.raises(ModelMismatch, match="needs 2 channels, a volume has 1"):
        answering.predict(noise(1), checkpoint=go_on)


def test_every_series_is_held_against_what_the_model_states() -> None:
    other = noise(2, header=tiny.header("CT"))
    with pytest.raises(ModelMismatch, match="is for MR, not for CT"):
        label(predictor(Brighter()), noise(1), other)


def classifier(name: str, spatial_dims: int, **changes: Any) -> ModelSpec:
    arguments = {"spatial_dims": spatial_dims, "in_channels": 2, "out_channels": 2}
    stated: dict[str, Any] = {
        "modalities": ("MR",),
        "spatial_dims": spatial_dims,
        "channels": 2,
        "window": (0.0, 1000.0),
        # the grid of ``noise``, so that nothing is resized
        "size": (12, 20, 18)[-spatial_dims:],
    }
    return ModelSpec(
        name="fusing",
        version="1",
        kind=Kind.CLASSIFICATION,
        title="Fusing",
        input=InputSpec(**{**stated, **changes}),
        labels=(Label(number=0, name="no"), Label(number=1, name="yes")),
        network=name,
        network_arguments={**arguments, "features": [4, 8]},
        options={"keep_frames": True},
    )


def loaded(folder: Path, spec: ModelSpec) -> tuple[Any, nn.Module]:
    """Write a bundle of fresh weights; return its predictor, and the network itself."""
    torch.manual_seed(0)
    network = networks.build(str(spec.network), spec.network_arguments).eval()
    state = network.state_dict()
    written = bundle.write(folder / spec.name, spec, weights=state, card="# Fusing\n")
    return predictors.open(written, device=Device()), network


@pytest.mark.parametrize("name", ["EarlyFusion", "LateFusion", "JointFusion"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_bundle_that_names_a_fusion_network_classifies_by_several_series(
    tmp_path: Path, name: str, spatial_dims: int
) -> None:
    answering, network = loaded(tmp_path, classifier(name, spatial_dims))
    rise = np.broadcast_to(np.linspace(0, 1000, 18).astype(np.int16), (12, 20, 18))
    volumes = noise(1), noise(2, stored=rise)
    found = answering.predict_channels(Channels(volumes=volumes), checkpoint=go_on)
    seen = torch.stack([torch.from_numpy(one.stored / np.float32(1000)) for one in volumes])
    # a network of two axes sees one slice after the other, each with both channels
    inputs = seen.transpose(0, 1) if spatial_dims == 2 else seen[None]
    with torch.no_grad():
        expected = network(inputs).softmax(1).T
        turned = network(inputs.flip(1)).softmax(1).T
    scores = [one for one in found.findings if isinstance(one, Classification)]
    assert [one.label for one in scores] == ["no", "yes"]
    found_scores = [one.by_frame or (one.score,) for one in scores]
    np.testing.assert_allclose(found_scores, expected, atol=1e-5)
    np.testing.assert_allclose([one.score for one in scores], expected.mean(1), atol=1e-5)
    # the order of the series matters
    assert (turned - expected).abs().max() > 1e-4


def test_a_classifier_refuses_another_number_of_series(tmp_path: Path) -> None:
    answering, _ = loaded(tmp_path, classifier("EarlyFusion", 3))
    assert isinstance(answering, TakesChannels)
    three = Channels(volumes=(noise(1), noise(2), noise(3)))
    with pytest.raises(ModelMismatch, match="needs 2 series as channels, there are 3"):
        answering.predict_channels(three, checkpoint=go_on)
    with pytest.raises(ModelMismatch, match="needs 2 channels, a volume has 1"):
        answering.predict(noise(1), checkpoint=go_on)


def test_a_classifier_of_several_series_is_explained_on_the_grid_they_share(tmp_path: Path) -> None:
    answering, _ = loaded(tmp_path, classifier("EarlyFusion", 3, size=(8, 8, 8)))
    channels = Channels(volumes=(noise(1), noise(2)))
    asked = Explain(method="grad-cam")
    found = answering.explain(channels, asked, "yes", checkpoint=go_on)
    assert found.values.shape == (12, 20, 18)
    assert np.isfinite(found.values).all()
