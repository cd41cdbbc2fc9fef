"""Probabilities kept beside a label map: the formula, the border, and who has none to keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import OutOfMemory
from pipeline.models import segmentation
from pipeline.models.devices import Device
from pipeline.models.predictor import KeepsProbabilities
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import InputSpec
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

WINDOW = (-100.0, 100.0)


class Brightness(nn.Module):
    """Answers with logits (0.5, value), the value scaled to 0 to 1."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([torch.full_like(image, 0.5), image], 1)


def predictor(**stated: object) -> SegmentationPredictor:
    stated = {
        "modalities": ("CT",),
        "spatial_dims": 3,
        "window": WINDOW,
        "size": (16,) * 3,
    } | stated
    spec = tiny.unet_spec(input=InputSpec(**stated))  # type: ignore[arg-type]
    return SegmentationPredictor(spec, Brightness(), Device())


def test_a_kept_probability_is_the_softmax_of_the_logits() -> None:
    image = tiny.volume((11, 18, 15))
    found = predictor().predict_with_probabilities(image, checkpoint=go_on)
    (kept,) = found.maps
    scaled = (image.stored.clip(*WINDOW) - WINDOW[0]) / (WINDOW[1] - WINDOW[0])
    np.testing.assert_allclose(kept.values, 1 / (1 + np.exp(0.5 - scaled)), atol=1e-6)
    assert (kept.segment, kept.unit, kept.values.dtype) == (1, "1", np.float32)


def test_labels_and_probabilities_agree_and_labels_are_what_they_are_without() -> None:
    image, model = tiny.volume(), predictor(spacing=(2.0, 2.0, 2.0))
    found = model.predict_with_probabilities(image, checkpoint=go_on)
    plain = model.predict(image, checkpoint=go_on)
    assert plain.maps == ()
    assert found.label_map is not None
    np.testing.assert_array_equal(found.label_map, plain.label_map)
    sure = abs(found.maps[0].values - 0.5) > 1e-5
    np.testing.assert_array_equal((found.maps[0].values > 0.5)[sure], found.label_map[sure] == 1)


def test_probabilities_do_not_fade_at_the_border_of_the_networks_grid() -> None:
    image = tiny.volume(stored=np.full((12, 20, 18), 100, np.int16))
    model = predictor(spacing=(3.7, 3.1, 2.9))
    (kept,) = model.predict_with_probabilities(image, checkpoint=go_on).maps
    np.testing.assert_allclose(kept.values, 1 / (1 + np.exp(-0.5)), atol=1e-5)


def test_maps_beyond_their_memory_are_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segmentation, "_MOST_MAP_BYTES", 1000)
    with pytest.raises(OutOfMemory, match="probabilities of 2 classes"):
        predictor().predict_with_probabilities(tiny.volume(), checkpoint=go_on)


def test_a_segmentation_can_keep_probabilities() -> None:
    assert isinstance(predictor(), KeepsProbabilities)
