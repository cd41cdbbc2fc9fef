"""Networks of two axes label images frame by frame and volumes slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ModelMismatch
from pipeline.models.devices import Device
from pipeline.models.planes import PlanesPredictor
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import InputSpec
from pipeline.results import Prediction, Segment
from pipeline.volume import Image, Input
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on


class Brightness(nn.Module):
    """Answers 1 where the mean of the channels is above a half."""

    def forward(self, image: Tensor) -> Tensor:
        mean = image.mean(1, keepdim=True)
        return torch.cat([torch.full_like(mean, 0.5), mean], 1)


def label(image: Input, network: nn.Module | None = None, **changes: Any) -> Prediction:
    options = changes.pop("options", {})
    stated: dict[str, Any] = {
        "modalities": ("CT", "US"),
        "spatial_dims": 2,
        "window": (-100.0, 100.0),
        "size": (16, 16),
    }
    spec = tiny.unet_spec(input=InputSpec(**{**stated, **changes}), options=options)
    return PlanesPredictor(spec, network or Brightness(), Device()).predict(image, checkpoint=go_on)


def test_every_frame_of_an_image_is_labelled_on_its_own_grid() -> None:
    pixels = np.random.default_rng(0).uniform(-100, 100, (3, 37, 21)).astype(np.float32)
    found = label(Image(pixels=pixels))
    np.testing.assert_array_equal(found.label_map, pixels > 0)
    (segment,) = found.findings
    assert isinstance(segment, Segment)
    assert segment.voxels == (pixels > 0).sum()
    assert segment.volume_ml == 0
    assert segment.centroid is None


def test_colour_images_are_labelled_by_three_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3)).astype(np.uint8)
    found = label(Image(pixels=pixels), channels=3, window=None)
    np.testing.assert_array_equal(found.label_map, pixels.mean(-1) > 127.5)


@pytest.mark.parametrize("orientation", [None, "RAS", "LIP"])
def test_the_slices_of_a_volume_are_labelled_as_a_network_of_three_axes_would(
    orientation: str | None,
) -> None:
    image = tiny.volume((9, 20, 18))
    found = label(image, orientation=orientation)
    np.testing.assert_array_equal(found.label_map, image.stored > 0)
    solid = InputSpec(modalities=("CT",), spatial_dims=3, window=(-100.0, 100.0), size=(8, 16, 16))
    other = SegmentationPredictor(tiny.unet_spec(input=solid), Brightness(), Device())
    assert found.findings == other.predict(image, checkpoint=go_on).findings


def test_an_answer_that_is_no_number_is_refused_for_images_too() -> None:
    class Nothing(nn.Module):
        """Answers what is no number."""

        def forward(self, image: Tensor) -> Tensor:
            return torch.full((len(image), 2, *image.shape[2:]), torch.nan)

    with pytest.raises(ModelMismatch, match="not finite"):
        label(Image(pixels=np.zeros((1, 20, 30), np.float32)), Nothing())


def test_windows_of_an_image_are_blended_as_the_bundle_says() -> None:
    class FirstColumns(nn.Module):
        """Answers by where in its window a pixel lies: 1 left of its twelfth column."""

        def forward(self, image: Tensor) -> Tensor:
            left = torch.zeros_like(image)
            left[..., :12] = 1.0
            return torch.cat([torch.full_like(image, 0.4), left], 1)

    image = Image(pixels=np.zeros((1, 16, 28), np.float32))
    maps = [
        label(image, FirstColumns(), options={"blend": blend}).label_map
        for blend in ("constant", "gaussian")
    ]
    # columns 12 to 15 are seen by two windows, of which one says 1: a half of the votes, but near
    # the border of the other, which says 1, a smaller share of the weight
    assert maps[0] is not None
    assert maps[1] is not None
    assert maps[0][0, 0, 12:16].all()
    assert not np.array_equal(maps[0], maps[1])


def test_planes_do_not_see_each_other() -> None:
    class Most(nn.Module):
        """Answers 1 everywhere in a plane whose mean is above a half."""

        def forward(self, image: Tensor) -> Tensor:
            mean = image.mean((1, 2, 3), keepdim=True).expand_as(image)
            return torch.cat([torch.full_like(image, 0.5), mean], 1)

    stored = np.full((6, 16, 16), -90, np.int16)
    stored[[1, 4]] = 90
    found = label(tiny.volume(stored=stored), Most())
    assert found.label_map is not None
    assert found.label_map.mean((1, 2)).tolist() == [0, 1, 0, 0, 1, 0]


def test_a_smaller_batch_is_tried_when_memory_runs_out() -> None:
    class Hungry(Brightness):
        def forward(self, image: Tensor) -> Tensor:
            if len(image) > 1:
                raise MemoryError
            return super().forward(image)

    pixels = np.random.default_rng(0).uniform(-100, 100, (3, 37, 21)).astype(np.float32)
    found = label(Image(pixels=pixels), Hungry(), options={"batch": 4})
    np.testing.assert_array_equal(found.label_map, pixels > 0)
    assert found.options["batch"] == 1
    assert len(found.warnings) == 2


def test_images_whose_channels_or_modality_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelMismatch, match="3 channels"):
        label(Image(pixels=np.zeros((1, 8, 8), np.float32)), channels=3)
