"""Objects of a Mask R-CNN come back one by one on the source grid, with mask, box and score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models import bundle, networks, predictors
from pipeline.models.bundle import BundleRefused
from pipeline.models.devices import Device
from pipeline.models.objects import ObjectsPredictor
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Detection, Prediction, Segment
from pipeline.volume import Image, Input, Volume
from tests.pipeline.models.table.small import SMALL
from tests.pipeline.models.tiny import go_on

NAME = "torchvision.mask_rcnn"


class Bright(nn.Module):
    """Answers as a Mask R-CNN would: an object of label 1 for each value, the brightest surest."""

    def __init__(self) -> None:
        super().__init__()
        self.roi_heads = nn.Module()

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        answers = []
        for image in images:
            masks = [image[0] == value for value in image[0].unique() if value > 0]
            boxes = [
                [*places.amin(0).flip(0).tolist(), *(places.amax(0) + 1).flip(0).tolist()]
                for places in (mask.nonzero() for mask in masks)
            ]
            answers.append(
                {
                    "masks": torch.stack([*masks, torch.zeros_like(image[0]) > 0])[:, None].float(),
                    "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                    "scores": torch.tensor([float(image[0][mask].max()) for mask in masks]),
                    "labels": torch.ones(len(masks), dtype=torch.int64),
                }
            )
        return answers


def spec(options: dict[str, Any] | None = None, **changes: Any) -> ModelSpec:
    stated: dict[str, Any] = {"window": (0.0, 100.0), "size": (64, 64), "overlap": 0.5, **changes}
    return ModelSpec(
        name="tiny",
        version="1",
        kind=Kind.SEGMENTATION,
        title="Tiny",
        input=InputSpec(modalities=("DX",), spatial_dims=2, **stated),
        labels=(Label(number=1, name="cell"),),
        network=NAME,
        network_arguments={
            "spatial_dims": 2,
            "in_channels": 1,
            "num_classes": 2,
            **SMALL[NAME],
        },
        options={"instances": True, **(options or {})},
    )


def find(image: Input, stated: ModelSpec) -> Prediction:
    return ObjectsPredictor(stated, Bright(), Device()).predict(image, checkpoint=go_on)


def test_each_object_of_an_image_has_a_mask_a_box_and_a_score() -> None:
    pixels = np.zeros((2, 40, 100), np.uint8)
    pixels[0, 3:9, 40:60] = 50
    pixels[0, 9:12, 40:45] = 90  # touches the first, and is another
    pixels[1, 30:40, 70:75] = 100
    found = find(Image(pixels=pixels), spec())
    assert found.label_map is not None
    expected = 1 * (pixels == 50) + 2 * (pixels == 100) + 3 * (pixels == 90)
    assert np.array_equal(found.label_map, expected)
    boxes = [one for one in found.findings if isinstance(one, Detection)]
    assert [one.index_box for one in boxes] == [
        (0, 3, 40, 1, 9, 60),
        (1, 30, 70, 2, 40, 75),
        (0, 9, 40, 1, 12, 45),
    ]
    assert [one.score for one in boxes] == pytest.approx([0.5, 1.0, 0.9])
    assert [(one.label, one.voxels) for one in found.findings if isinstance(one, Segment)] == [
        ("cell 1", 120),
        ("cell 2", 50),
        ("cell 3", 15),
    ]


def test_objects_of_a_turned_volume_lie_where_they_lay() -> None:
    stored = np.zeros((40, 50, 3), np.int16)
    stored[5:12, 20:44, 1] = 80
    stored[30:33, 2:5, 2] = 60
    # the first axis runs along x, so that the network sees planes across the last
    volume = Volume(stored=stored, affine=np.diag([0.5, -0.7, 2.0, 1.0]), unit="")
    found = find(volume, spec(orientation="SAR"))
    assert found.label_map is not None
    assert np.array_equal(found.label_map, 1 * (stored == 80) + 2 * (stored == 60))
    (larger, _) = (one for one in found.findings if isinstance(one, Detection))
    assert larger.index_box == (5, 20, 1, 12, 44, 2)
    assert larger.centre == pytest.approx((0.5 * 8, -0.7 * 31.5, 2.0))
    assert larger.size == pytest.approx((3.5, 16.8, 2.0))


def test_small_objects_are_left_out_and_no_object_is_no_map() -> None:
    pixels = np.zeros((1, 64, 64), np.uint8)
    pixels[0, :2, :2] = 100
    found = find(Image(pixels=pixels), spec({"minimum_voxels": 5}))
    assert (found.findings, found.label_map) == ((), None)


def test_a_bundle_that_names_a_mask_rcnn_loads_and_answers(tmp_path: Path) -> None:
    stated = spec({"score_threshold": 0.1})
    torch.manual_seed(0)
    weights = networks.build(NAME, stated.network_arguments).state_dict()
    written = bundle.write(tmp_path / "tiny", stated, weights=weights, card="#")
    predictor = predictors.open(written, device=Device())
    assert isinstance(predictor, ObjectsPredictor)
    pixels = np.random.default_rng(0).integers(0, 100, (1, 64, 64)).astype(np.uint8)
    found = predictor.predict(Image(pixels=pixels), checkpoint=go_on)
    numbers = [one.number for one in found.findings if isinstance(one, Segment)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum(isinstance(one, Detection) for one in found.findings) == len(numbers)


@pytest.mark.parametrize("options", [{"instances": False}, {"flips": [0]}, {"border": 1}])
def test_what_objects_cannot_be_made_of_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BundleRefused, match="finds objects needs"):
        bundle.write(tmp_path / "tiny", spec(options), weights={}, card="#")


def test_a_mask_rcnn_trains_a_step() -> None:
    torch.manual_seed(0)
    network: Any = networks.build(NAME, spec().network_arguments).train()
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[0, 8:24, 4:20] = 1
    target = {
        "boxes": torch.tensor([[4.0, 8, 20, 24]]),
        "labels": torch.tensor([1]),
        "masks": mask,
    }
    losses = network([torch.rand(1, 64, 64)], [target])
    assert "loss_mask" in losses
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total)
    assert [key for key, value in network.named_parameters() if value.grad is None] == []
