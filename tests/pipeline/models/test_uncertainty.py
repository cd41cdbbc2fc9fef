"""How sure a model is, against what is known in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.asking import Conformal, MonteCarloDropout, Uncertainty
from pipeline.errors import ModelMismatch
from pipeline.models import uncertainty
from pipeline.models.averaging import Averaged, views
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.planes import PlanesPredictor
from pipeline.models.sampling import Sampled
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import Calibration, InputSpec, Kind, Label, ModelSpec
from pipeline.results import Classification, Prediction
from pipeline.volume import Image
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import Constant, go_on

DROPOUT = Uncertainty(monte_carlo_dropout=MonteCarloDropout(samples=8, seed=3))


def measured(prediction: Prediction) -> dict[str, tuple[float, str]]:
    """Return every measurement with its unit."""
    return {
        one.label: (one.value, one.unit)
        for one in prediction.findings
        if not isinstance(one, Classification) and hasattr(one, "unit")
    }


def test_entropies_are_those_of_known_scores() -> None:
    coin = uncertainty.of_input(np.array([[0.5, 0.5]]), "softmax")
    assert coin.predictive_entropy == 1.0
    assert coin.deviation is coin.mutual_information is None
    assert uncertainty.of_input(np.array([[1.0, 0.0]]), "softmax").predictive_entropy == 0.0
    four = uncertainty.of_input(np.full((1, 4), 0.25), "softmax")
    assert four.predictive_entropy == 2.0
    each = uncertainty.of_input(np.array([[0.5, 0.5, 1.0]]), "sigmoid")
    assert each.predictive_entropy == 2.0


def test_what_samples_disagree_in_is_mutual_information() -> None:
    torn = uncertainty.of_input(np.array([[1.0, 0.0], [0.0, 1.0]]), "softmax")
    assert torn.predictive_entropy == torn.mutual_information == 1.0
    assert torn.deviation == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))
    same = uncertainty.of_input(np.array([[0.5, 0.5], [0.5, 0.5]]), "softmax")
    assert (same.predictive_entropy, same.mutual_information) == (1.0, 0.0)
    assert same.deviation == (0.0, 0.0)


# of classifications


class Mean(nn.Module):
    """Logits (0, four times the mean of the image), behind dropout of its values."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(share)

    def forward(self, image: Tensor) -> Tensor:
        mean = self.dropout(image).flatten(1).mean(1)
        return torch.stack([torch.zeros_like(mean), mean * 4], 1)


def classifying(**changes: Any) -> ModelSpec:
    stated: dict[str, Any] = {
        "name": "mean",
        "version": "1",
        "kind": Kind.CLASSIFICATION,
        "title": "Mean",
        "input": InputSpec(
            modalities=("US", "CT"), spatial_dims=2, window=(0.0, 100.0), size=(16, 12)
        ),
        "labels": (Label(number=0, name="dark"), Label(number=1, name="bright")),
        "network": "DenseNet",
    }
    return ModelSpec(**{**stated, **changes})


def classify(asked: Uncertainty, network: nn.Module | None = None, **changes: Any) -> Prediction:
    predictor = ClassificationPredictor(
        classifying(**changes), (network or Mean()).eval(), Device()
    )
    image = Image(pixels=np.full((1, 16, 12), 75, np.float32))
    return predictor.predict_with_uncertainty(image, asked, checkpoint=go_on)


def scores_of(prediction: Prediction) -> dict[str, float]:
    return {one.label: one.score for one in prediction.findings if isinstance(one, Classification)}


def test_a_score_is_the_mean_over_the_samples() -> None:
    found = classify(DROPOUT)
    assert classify(DROPOUT).findings == found.findings
    with torch.inference_mode():
        sampled = Sampled(Mean().eval(), DROPOUT, go_on)
        each = sampled(torch.full((1, 1, 16, 12), 0.75))[0].double().softmax(1)[:, 1]
    assert scores_of(found)["bright"] == pytest.approx(float(each.mean()), abs=1e-6)
    numbers = measured(found)
    deviation, unit = numbers["standard deviation of bright"]
    assert (deviation, unit) == (pytest.approx(float(each.std()), abs=1e-6), "1")
    assert deviation > 0.001
    assert numbers["predictive entropy"][1] == numbers["mutual information"][1] == "bit"
    assert 0 < numbers["mutual information"][0] < numbers["predictive entropy"][0] < 1
    assert found.options["uncertainty"] == {"monte_carlo_dropout": {"samples": 8, "seed": 3}}


def test_labels_may_stand_in_any_order() -> None:
    kept = Calibration(scores=(0.01, 0.04, 0.05, 0.96))
    asked = Uncertainty(conformal=Conformal(coverage=0.6))
    labels = (Label(number=1, name="bright"), Label(number=0, name="dark"))
    found = measured(classify(asked, calibration=kept, labels=labels))
    assert found["prediction set has bright"][0] == 1.0
    assert found["prediction set has dark"][0] == 0.0


def test_a_temperature_alone_draws_no_samples() -> None:
    found = classify(Uncertainty(temperature=3.0))
    assert scores_of(found)["bright"] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)
    assert set(measured(found)) == {"predictive entropy"}


def test_the_temperature_of_the_model_is_used_where_it_is_asked_for() -> None:
    stored = Uncertainty(temperature="stored")
    found = classify(stored, calibration=Calibration(temperature=3.0))
    assert scores_of(found)["bright"] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)
    with pytest.raises(ModelMismatch, match="keeps no temperature"):
        classify(stored)


def test_a_prediction_set_is_made_of_the_scores_without_samples() -> None:
    # the score of bright is 0.953, of dark 0.047
    kept = Calibration(scores=(0.01, 0.04, 0.05, 0.96))
    asked = {"monte_carlo_dropout": MonteCarloDropout(samples=2)}
    tight = classify(Uncertainty(conformal=Conformal(coverage=0.6), **asked), calibration=kept)
    assert measured(tight)["prediction set has bright"] == (1.0, "1")
    assert measured(tight)["prediction set has dark"] == (0.0, "1")
    wide = classify(Uncertainty(conformal=Conformal(coverage=0.8), **asked), calibration=kept)
    assert measured(wide)["prediction set has dark"] == (1.0, "1")
    with pytest.raises(ModelMismatch, match="no scores for prediction sets"):
        classify(Uncertainty(conformal=Conformal()))


def test_samples_are_joined_over_frames_before_they_are_compared() -> None:
    predictor = ClassificationPredictor(
        classifying(options={"keep_frames": True}), Mean(0.0).eval(), Device()
    )
    pixels = np.stack([np.full((16, 12), value, np.float32) for value in (0, 100)])
    found = predictor.predict_with_uncertainty(
        Image(pixels=pixels), Uncertainty(flips=(0,)), checkpoint=go_on
    )
    (_, bright) = (one for one in found.findings if isinstance(one, Classification))
    assert bright.by_frame == pytest.approx((0.5, 1 / (1 + math.exp(-4))))
    assert bright.score == pytest.approx(sum(bright.by_frame) / 2)
    assert measured(found)["standard deviation of bright"][0] == pytest.approx(0, abs=1e-6)


def test_without_a_temperature_scores_are_joined_as_ever() -> None:
    predictor = ClassificationPredictor(
        classifying(options={"frames": "max"}), Mean(0.0).eval(), Device()
    )
    pixels = np.stack([np.full((16, 12), value, np.float32) for value in (0, 100)])
    image = Image(pixels=pixels)
    sampled = predictor.predict_with_uncertainty(image, Uncertainty(flips=(0,)), checkpoint=go_on)
    plain = predictor.predict(image, checkpoint=go_on)
    # the highest scores of frames sum to more than 1
    assert scores_of(sampled) == pytest.approx(scores_of(plain))


# of segmentations


class Bright(nn.Module):
    """A score of three quarters where the image is bright, and of a half elsewhere."""

    def forward(self, image: Tensor) -> Tensor:
        bright = (image[:, :1] > 0.5).float()
        return torch.cat([torch.zeros_like(bright), bright * math.log(3)], 1)


def test_every_voxel_has_the_entropy_of_its_scores() -> None:
    stored = np.full((12, 20, 18), -1000, np.int16)
    stored[4:8, 5:15, 3:9] = 400
    volume = tiny.volume(stored=stored)
    spec = tiny.unet_spec()
    network = Averaged([Bright(), Bright()], views((), turns=False), "softmax").eval()
    predictor = SegmentationPredictor(spec, network, Device())
    found = predictor.predict_with_uncertainty(volume, Uncertainty(members=True), checkpoint=go_on)
    np.testing.assert_array_equal(found.label_map, (stored > 0).astype(np.uint8))
    entropy, deviation = found.maps
    quarter = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    wanted = np.where(stored > 0, quarter, 1.0)
    np.testing.assert_allclose(entropy.values, wanted, atol=1e-5)
    assert (entropy.name, entropy.unit) == ("predictive entropy", "bit")
    np.testing.assert_allclose(deviation.values, 0.0, atol=1e-3)
    assert measured(found)["mean entropy of thing"] == (pytest.approx(quarter, abs=1e-5), "bit")


def test_members_that_disagree_deviate_by_as_much() -> None:
    network = Averaged([Constant(0.0, 5.0), Constant(0.0, 3.0)], views((), turns=False), "softmax")
    predictor = SegmentationPredictor(tiny.unet_spec(), network.eval(), Device())
    found = predictor.predict_with_uncertainty(
        tiny.volume(), Uncertainty(members=True), checkpoint=go_on
    )
    scores = [1 / (1 + math.exp(-logit)) for logit in (5.0, 3.0)]
    np.testing.assert_allclose(found.maps[1].values, np.std(scores), atol=1e-4)
    assert (found.label_map == 1).all()


def test_planes_say_how_sure_they_are_too() -> None:
    flat = InputSpec(modalities=("CT", "US"), spatial_dims=2, window=(-100.0, 100.0), size=(16, 16))
    predictor = PlanesPredictor(tiny.unet_spec(input=flat), Bright().eval(), Device())
    pixels = np.random.default_rng(0).uniform(-100, 100, (3, 37, 21)).astype(np.float32)
    quarter = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    for image in (Image(pixels=pixels), tiny.volume(stored=pixels)):
        found = predictor.predict_with_uncertainty(
            image, Uncertainty(flips=(0, 1)), checkpoint=go_on
        )
        np.testing.assert_array_equal(found.label_map, pixels > 0)
        np.testing.assert_allclose(
            found.maps[0].values, np.where(pixels > 0, quarter, 1.0), atol=1e-5
        )


def test_windows_of_a_thinned_network_agree_with_themselves() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Dropout3d(0.5), nn.Conv3d(4, 2, 1)).eval()
    volume = tiny.volume(shape=(20, 24, 22))
    spec = tiny.unet_spec()
    whole = InputSpec(
        modalities=("CT",), spatial_dims=3, window=(-1000.0, 400.0), size=(20, 24, 22)
    )
    found = [
        SegmentationPredictor(one, network, Device()).predict_with_uncertainty(
            volume, DROPOUT, checkpoint=go_on
        )
        for one in (spec, tiny.unet_spec(input=whole))
    ]
    for cut, uncut in zip(*(one.maps for one in found), strict=True):
        np.testing.assert_allclose(cut.values, uncut.values, atol=1e-3)
    assert found[0].maps[1].values.max() > 0.01
