"""Series that a study lacks: networks that can do without them do, all others refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.asking import Explain, Uncertainty
from pipeline.errors import ModelMismatch
from pipeline.models import networks
from pipeline.models.averaging import Averaged, views
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Classification, Prediction
from pipeline.volume import Channels, Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

SHAPE = (4, 10, 8)
FUSING = ["EarlyFusion", "LateFusion", "JointFusion"]
#: which of three series are there
PRESENT = [(True, False, True), (False, True, False), (True, True, True)]


def spec(name: str, spatial_dims: int = 3, **options: Any) -> ModelSpec:
    stated = InputSpec(
        modalities=("MR",),
        spatial_dims=spatial_dims,
        channels=3,
        window=(0.0, 1000.0),
        # that of the volumes, so that nothing is resized
        size=SHAPE[-spatial_dims:],
    )
    return ModelSpec(
        name="fusing",
        version="1",
        kind=Kind.CLASSIFICATION,
        title="Fusing",
        input=stated,
        labels=(Label(number=0, name="no"), Label(number=1, name="yes")),
        network=name,
        options=options,
    )


def built(name: str, spatial_dims: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    arguments = {"spatial_dims": spatial_dims, "in_channels": 3, "out_channels": 2}
    network = networks.build(name, {**arguments, "features": [4, 8]}).eval()
    return network.requires_grad_(requires_grad=False)


def series(number: int) -> Volume:
    stored = np.random.default_rng(number).integers(0, 1000, SHAPE).astype(np.int16)
    return tiny.volume(stored=stored, unit="")


EVERY = tuple(map(series, range(3)))


def lacking(present: tuple[bool, ...]) -> Channels:
    volumes = tuple(one for one, is_there in zip(EVERY, present, strict=True) if is_there)
    return Channels(volumes=volumes, present=present)


def seen() -> Tensor:
    """Return all three series as a network sees them."""
    return torch.stack([torch.from_numpy(one.stored / np.float32(1000)) for one in EVERY])[None]


def scores(prediction: Prediction) -> list[float]:
    return [one.score for one in prediction.findings if isinstance(one, Classification)]


@pytest.mark.parametrize("name", FUSING)
@pytest.mark.parametrize("present", PRESENT)
def test_a_missing_series_changes_nothing_by_what_it_would_hold(
    name: str, present: tuple[bool, ...]
) -> None:
    network = built(name)
    predictor = ClassificationPredictor(spec(name), network, Device())
    found = predictor.predict_channels(lacking(present), checkpoint=go_on)
    # the network is given the missing series too, and told that they are not there
    logits = network(seen(), torch.tensor([present]))
    np.testing.assert_allclose(scores(found), logits.softmax(1)[0], atol=1e-5)
    whole = network(seen()).softmax(1)[0].numpy()
    assert np.allclose(scores(found), whole, atol=1e-5) is all(present)


def test_a_network_of_two_axes_is_told_for_every_slice() -> None:
    network = built("LateFusion", spatial_dims=2)
    predictor = ClassificationPredictor(spec("LateFusion", 2, keep_frames=True), network, Device())
    present = (False, True, True)
    found = predictor.predict_channels(lacking(present), checkpoint=go_on)
    told = torch.tensor([present]).expand(SHAPE[0], -1)
    expected = network(seen()[0].transpose(0, 1), told).softmax(1).T
    by_frame = [one.by_frame for one in found.findings if isinstance(one, Classification)]
    np.testing.assert_allclose(by_frame, expected, atol=1e-5)


def test_members_views_and_samples_are_told_too() -> None:
    members = [built("EarlyFusion", seed=seed) for seed in (1, 2)]
    network = Averaged(members, views((), turns=False), "softmax").eval()
    predictor = ClassificationPredictor(spec("EarlyFusion", members=2), network, Device())
    present = (True, False, True)
    told = torch.tensor([present])
    each = torch.stack([member(seen(), told).softmax(1)[0] for member in members])
    channels = lacking(present)
    plain = predictor.predict_channels(channels, checkpoint=go_on)
    np.testing.assert_allclose(scores(plain), each.mean(0), atol=1e-5)
    asked = Uncertainty(members=True)
    sampled = predictor.predict_with_uncertainty(channels, asked, checkpoint=go_on)
    np.testing.assert_allclose(scores(sampled), each.mean(0), atol=1e-5)


def test_an_explanation_lies_on_the_first_series_that_is_there() -> None:
    predictor = ClassificationPredictor(spec("EarlyFusion"), built("EarlyFusion"), Device())
    channels, whole = lacking((False, True, True)), lacking((True, True, True))
    asked = Explain(method="feature-maps")
    found = predictor.explain(channels, asked, "yes", checkpoint=go_on)
    assert found.values.shape == SHAPE
    assert found.values.max() > 0
    other = predictor.explain(whole, asked, "yes", checkpoint=go_on)
    assert np.abs(found.values - other.values).max() > 0.1 * other.values.max()


def test_a_network_that_takes_no_mask_refuses() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    predictor = ClassificationPredictor(spec("DenseNet"), network, Device())
    with pytest.raises(ModelMismatch, match="model fusing cannot do without one of its series"):
        predictor.predict_channels(lacking((True, False, True)), checkpoint=go_on)
    assert scores(predictor.predict_channels(lacking((True, True, True)), checkpoint=go_on))


def test_another_number_of_series_is_refused_also_where_some_are_missing() -> None:
    predictor = ClassificationPredictor(spec("EarlyFusion"), built("EarlyFusion"), Device())
    four = replace(lacking((True, True, True)), present=(True, True, True, False))
    with pytest.raises(ModelMismatch, match="needs 3 series as channels, there are 4"):
        predictor.predict_channels(four, checkpoint=go_on)
