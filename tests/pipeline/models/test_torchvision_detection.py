"""torchvision's detectors load from bundles, and their boxes come back on the source grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from pipeline.models import bundle, networks, predictors
from pipeline.models.detection import DetectionPredictor
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Detection
from pipeline.volume import Image, Volume
from tests.pipeline.models.table.small import SMALL
from tests.pipeline.models.tiny import go_on

NAMES = ("torchvision.faster_rcnn", "torchvision.retinanet")


class Bright(FasterRCNN):  # type: ignore[misc]
    """Answers as a Faster R-CNN would that finds what is bright, each a label of its own value."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.roi_heads = nn.Module()

    def forward(self, images: list[Tensor], targets: Any = None) -> list[dict[str, Tensor]]:
        del targets
        found = []
        for image in images:
            boxes = []
            for label, value in ((1, 0.5), (2, 1.0)):
                places = (image[0] == value).nonzero()
                if len(places):
                    (top, left), (bottom, right) = places.amin(0), places.amax(0) + 1
                    boxes.append([label, 0.9, left, top, right, bottom])
            rows = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 6)
            found.append({"labels": rows[:, 0].long(), "scores": rows[:, 1], "boxes": rows[:, 2:]})
        return found


def spec(name: str = NAMES[0], **changes: Any) -> ModelSpec:
    stated: dict[str, Any] = {"window": (0.0, 100.0), "size": (64, 64), **changes}
    labels = (Label(number=0, name="dim"), Label(number=1, name="bright"))
    arguments = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, **SMALL[name]}
    return ModelSpec(
        name="tiny",
        version="1",
        kind=Kind.DETECTION,
        title="Tiny",
        input=InputSpec(modalities=("DX",), spatial_dims=2, **stated),
        labels=labels,
        network=name,
        network_arguments=arguments,
        options={"score_threshold": 0.05, "maximum": 7},
    )


def test_boxes_of_an_image_come_back_in_rows_and_columns() -> None:
    pixels = np.zeros((2, 50, 90), np.uint8)
    pixels[0, 3:9, 40:60] = 50
    pixels[1, 30:45, 70:75] = 100
    predictor = DetectionPredictor(spec(), Bright(), Device())
    found = predictor.predict(Image(pixels=pixels, spacing=None), checkpoint=go_on).findings
    assert {(one.label, one.index_box) for one in found if isinstance(one, Detection)} == {
        ("dim", (0, 3, 40, 1, 9, 60)),
        ("bright", (1, 30, 70, 2, 45, 75)),
    }


def test_boxes_of_a_turned_volume_come_back_on_its_slices() -> None:
    stored = np.zeros((40, 50, 3), np.int16)
    stored[5:12, 20:44, 1] = 100
    affine = np.diag([0.5, 0.7, 2.0, 1.0])  # slices run along x, so sagittal planes are stacked
    volume = Volume(stored=stored, affine=affine, unit="")
    stated = spec(orientation="SAR")
    found = DetectionPredictor(stated, Bright(), Device()).predict(volume, checkpoint=go_on)
    (one,) = found.findings
    assert isinstance(one, Detection)
    assert (one.label, one.index_box) == ("bright", (5, 20, 1, 12, 44, 2))


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_that_names_a_detector_loads_and_answers(tmp_path: Path, name: str) -> None:
    stated = spec(name)
    torch.manual_seed(0)
    weights = networks.build(name, stated.network_arguments).state_dict()
    written = bundle.write(tmp_path / "tiny", stated, weights=weights, card="#")
    predictor = predictors.open(written, device=Device())
    pixels = np.random.default_rng(0).integers(0, 100, (1, 64, 80)).astype(np.uint8)
    found = predictor.predict(Image(pixels=pixels, spacing=None), checkpoint=go_on).findings
    assert len(found) <= 7
    again = predictor.predict(Image(pixels=pixels, spacing=None), checkpoint=go_on).findings
    assert found == again
    for one in found:
        assert isinstance(one, Detection)
        assert 0 <= one.index_box[1] < one.index_box[4] <= 64
        assert 0 <= one.index_box[2] < one.index_box[5] <= 80


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_trains_a_step(name: str) -> None:
    torch.manual_seed(0)
    network: Any = networks.build(name, spec(name).network_arguments).train()
    target = {"boxes": torch.tensor([[4.0, 8, 20, 24]]), "labels": torch.tensor([1])}
    losses = network([torch.rand(1, 64, 64), torch.rand(1, 64, 64)], [target, target])
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total)
    lacking = [key for key, value in network.named_parameters() if value.grad is None]
    assert lacking == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"anchors": [8, 16]}, "five sides"),
        ({"mean": [0.1, 0.2]}, "a number for each channel"),
        ({"backbone": "vgg16"}, "backbone is one of"),
        ({"spatial_dims": 3}, "has 2 axes"),
    ],
)
def test_what_a_detector_cannot_be_is_refused(changes: dict[str, Any], sentence: str) -> None:
    arguments = {**spec().network_arguments, **changes}
    with pytest.raises(ValueError, match=sentence):
        networks.build(NAMES[0], arguments)


def test_images_are_normalised_as_the_bundle_says_and_keep_their_size() -> None:
    arguments = {**spec().network_arguments, "mean": [0.5], "std": [0.25]}
    network: Any = networks.build(NAMES[0], arguments).eval()
    images, _ = network.transform([torch.full((1, 32, 64), 0.75)])
    assert images.tensors.shape == (1, 1, 32, 64)
    assert (images.tensors == 1.0).all()
