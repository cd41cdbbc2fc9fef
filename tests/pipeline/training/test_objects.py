"""Objects that touch are told apart: by a border that is learnt, or one by one by a Mask R-CNN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import TrainingRefused
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.training import data, judging, manifest, objects, reading, recipe, tasks
from pipeline.training.data import Draw
from pipeline.training.manifest import Part
from pipeline.training.objects import ObjectDetection
from pipeline.training.reading import LabelRefused
from pipeline.training.recipe import Recipe
from pipeline.volume import Image
from tests import quick_training
from tests.pipeline.models.table.small import SMALL
from tests.pipeline.models.tiny import go_on

SIDE = 32
MASK_RCNN: dict[str, Any] = quick_training.SEGMENTATION | {
    "network": {
        "name": "torchvision.mask_rcnn",
        "arguments": {
            "spatial_dims": 2,
            "in_channels": 1,
            "num_classes": 2,
            **SMALL["torchvision.mask_rcnn"],
        },
    },
    "input": {"modalities": ["SM"], "spatial_dims": 2, "window": [0, 100], "size": [SIDE, SIDE]},
    "labels": [{"number": 1, "name": "cell"}],
    "loss": "mask-rcnn",
    "options": {"instances": True, "score_threshold": 0.0},
    "augmentation": {"flip": 0.5},
}
BORDER: dict[str, Any] = MASK_RCNN | {
    "network": {
        "name": "UNet",
        "arguments": {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 3,
            "channels": [8, 16],
            "strides": [2],
        },
    },
    "labels": [{"number": 1, "name": "cell"}, {"number": 2, "name": "border"}],
    "loss": "dice-cross-entropy",
    "options": {"instances": True, "border": 2},
    "patches": 8,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Steps this small lose more by waiting for each other than they win."""
    torch.set_num_threads(1)


def write_cells(folder: Path, count: int = 4) -> Path:
    """Write images of two bright cells side by side, a dark line between them, and their maps."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        numbers = np.zeros((SIDE, SIDE), np.int32)
        top, left, middle = rng.integers(3, 10, 3)
        numbers[top : top + 12, left : left + middle] = 300
        numbers[top : top + 12, left + middle : left + 16] = 7
        pixels = 20.0 + 60.0 * (numbers > 0) + rng.normal(0, 2, numbers.shape)
        pixels[top : top + 12, left + middle - 1 : left + middle + 1] = 50.0
        np.save(folder / f"{number}.npy", pixels.astype(np.float32))
        np.save(folder / f"{number}.cells.npy", numbers)
        part = ("training", "training", "validation", "held-out")[number % 4]
        rows.append((f"{number}.npy", f"{number}.cells.npy", f"p{number}", part))
    return quick_training.write_manifest(folder, rows)


def prepared(folder: Path, wanted: Recipe, count: int = 4) -> data.Prepared:
    torch.manual_seed(0)
    snapshot = manifest.freeze(write_cells(folder, count), wanted)
    return tasks.prepare(wanted, snapshot, folder / "cases", checkpoint=lambda: None)


def test_a_border_lies_where_objects_face_each_other() -> None:
    numbers = np.zeros((1, 5, 12), np.int32)
    numbers[0, :, :4], numbers[0, :, 4:8] = 1, 2  # they touch
    numbers[0, :, 10:] = 3  # two pixels of background away
    mask = objects.with_border(numbers, 2)
    assert mask[0, 0].tolist() == [1, 1, 2, 2, 2, 2, 1, 1, 0, 0, 1, 1]
    assert objects.with_border(numbers, None)[0, 0].tolist() == [1] * 8 + [0, 0, 1, 1]
    volume = np.concatenate([numbers, np.where(numbers == 1, 4, numbers)])
    assert (objects.with_border(volume, 2)[0, :, :2] == 2).all()  # what lies behind is another


def test_numbers_of_objects_are_closed_up_and_must_be_numbers(tmp_path: Path) -> None:
    image = Image(pixels=np.zeros((1, 2, 3), np.uint8))
    np.save(tmp_path / "map.npy", np.array([[0, 300, 300], [7, 0, 65535]], np.uint16))
    read = reading.read_objects(tmp_path / "map.npy", image)
    assert read.tolist() == [[[0, 2, 2], [1, 0, 3]]]
    np.save(tmp_path / "map.npy", np.full((2, 3), 5))
    assert reading.read_objects(tmp_path / "map.npy", image).tolist() == [[[1] * 3] * 2]
    np.save(tmp_path / "map.npy", np.full((2, 3), 0.5))
    with pytest.raises(LabelRefused):
        reading.read_objects(tmp_path / "map.npy", image)


def test_what_is_learnt_of_an_object_is_where_it_lies() -> None:
    numbers = np.zeros((8, 10), np.int32)
    numbers[1:4, 2:9], numbers[5:8, 0:3], numbers[7, 9] = 1, 3, 2  # the last too small to learn
    found = objects.target(numbers)
    assert found["boxes"].tolist() == [[1, 2, 4, 9], [5, 0, 8, 3]]
    assert found["labels"].tolist() == [0, 0]
    assert np.array_equal(found["masks"][1].numpy(), numbers == 3)
    assert objects.target(np.zeros((4, 4), np.int32))["masks"].shape == (0, 4, 4)


def test_masks_stay_in_their_boxes_however_a_patch_is_changed(tmp_path: Path) -> None:
    changes = {"flip": 0.5, "rotate": 30, "zoom": 0.2, "elastic": 1.0}
    wanted = recipe.check(MASK_RCNN | {"augmentation": changes})
    task = ObjectDetection(
        recipe=wanted, prepared=prepared(tmp_path, wanted), device=torch.device("cpu")
    )
    for number in range(6):
        image, found = task._patch(Draw(number % 2, np.random.default_rng(number)))
        for box, mask in zip(found["boxes"].long(), found["masks"], strict=True):
            places = mask.nonzero()
            assert torch.equal(places.amin(0), box[:2])
            assert torch.equal(places.amax(0) + 1, box[2:])
            assert image[0][mask > 0].mean() > 0.5


def test_a_mask_rcnn_learns_and_answers_from_its_bundle(tmp_path: Path) -> None:
    wanted = recipe.check(MASK_RCNN)
    task = ObjectDetection(
        recipe=wanted, prepared=prepared(tmp_path, wanted), device=torch.device("cpu")
    )
    network = task.network()
    losses = task.loss(network, next(task.batches(0, 0)))
    assert "loss_mask" in losses
    assert all(torch.isfinite(value) for value in losses.values())
    network.eval()
    with torch.inference_mode():
        assert 0.0 <= (task.score(network) or 0.0) <= 1.0
    scores = judge(tmp_path, wanted, network.state_dict())
    assert scores.labels == ("cell",)
    assert scores.cases[0].objects[0].truths == 2


def test_a_border_that_is_learnt_parts_cells_that_touch(tmp_path: Path) -> None:
    wanted = recipe.check(BORDER)
    task = tasks._method(wanted).make(
        recipe=wanted, prepared=prepared(tmp_path, wanted, 16), device=torch.device("cpu")
    )
    network: Any = task.network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.02)
    for epoch in range(2):
        for batch in task.batches(epoch, 0):
            optimiser.zero_grad()
            loss: Any = task.loss(network, batch)
            loss.backward()
            optimiser.step()
    judged = judge(tmp_path, wanted, network.state_dict())
    assert judged.labels == ("cell",)
    found = [case.objects[0] for case in judged.cases]
    assert [len(one.scores) for one in found] == [2] * len(found)
    assert min(max(row) for one in found for row in one.overlaps) > 0.7


def judge(folder: Path, wanted: Recipe, weights: dict[str, torch.Tensor]) -> judging.Scores:
    written = bundle.write(folder / "bundle", wanted.spec("1.0"), weights=weights, card="# Test\n")
    held_out = manifest.freeze(folder / "cases.csv", wanted).part(Part.HELD_OUT)
    predictor = predictors.open(written, device=Device())
    return judging.judge(held_out, wanted, predictor, checkpoint=go_on)


def test_objects_of_several_labels_are_refused() -> None:
    labels = [{"number": 1, "name": "cell"}, {"number": 2, "name": "other"}]
    with pytest.raises(TrainingRefused, match="objects are learnt of one label"):
        recipe.check(BORDER | {"labels": labels, "options": {"instances": True}})
