"""Detectors of single images learn: every network, by its own losses, and boxes stay on things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import TrainingRefused
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.results import Detection as Found
from pipeline.training import detection, detectors, manifest, preparing, recipe
from pipeline.training.data import Draw
from pipeline.training.detection import Detection
from pipeline.training.recipe import Recipe
from pipeline.volume import Image
from tests import quick_training
from tests.pipeline.models.table.small import SMALL
from tests.pipeline.models.tiny import go_on

SIDE = 32
LABELS = [{"number": 0, "name": "bright"}, {"number": 1, "name": "dark"}]
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "RetinaNet": ("focal", {"features": [8, 8], "pyramid_channels": 8, "anchor_shapes": [[8, 8]]}),
    "torchvision.retinanet": ("focal", SMALL["torchvision.retinanet"]),
    "torchvision.faster_rcnn": ("faster-rcnn", SMALL["torchvision.faster_rcnn"]),
}
QUICK: dict[str, Any] = quick_training.DETECTION | {
    "input": {"modalities": ["OT"], "spatial_dims": 2, "window": [0, 100], "size": [SIDE, SIDE]},
    "labels": LABELS,
    "evaluation": {"hit_iou": 0.5},
    "batch": 4,
    "augmentation": {"flip": 0.5},
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Steps this small lose more by waiting for each other than they win."""
    torch.set_num_threads(1)


def document(name: str = "RetinaNet", **changes: Any) -> dict[str, Any]:
    loss, arguments = NETWORKS[name]
    stated = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, **arguments}
    return QUICK | {"network": {"name": name, "arguments": stated}, "loss": loss} | changes


def write_blocks(folder: Path, count: int = 8) -> Path:
    """Write grey images with one bright and one dark block each, and their boxes."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        pixels = np.full((SIDE, SIDE), 50.0, np.float32) + rng.normal(0, 2, (SIDE, SIDE))
        boxes = []
        for column, (label, value) in zip((2, 18), (("bright", 90), ("dark", 10)), strict=True):
            low = np.array([rng.integers(2, 20), column + rng.integers(0, 4)])
            high = low + rng.integers(6, 10, 2)
            pixels[low[0] : high[0], low[1] : high[1]] = value
            boxes.append({"label": label, "low": low.tolist(), "high": high.tolist()})
        np.save(folder / f"{number}.npy", pixels.astype(np.float32))
        (folder / f"{number}.json").write_text(json.dumps({"boxes": boxes}))
        part = ("training", "training", "validation", "held-out")[number % 4]
        rows.append((f"{number}.npy", f"{number}.json", f"p{number}", part))
    return quick_training.write_manifest(folder, rows)


def task(folder: Path, wanted: Recipe, count: int = 8) -> Detection:
    torch.manual_seed(0)
    snapshot = manifest.freeze(write_blocks(folder, count), wanted)
    prepared = preparing.prepare(
        snapshot, wanted, detection.preparation(wanted), folder / "cases", checkpoint=lambda: None
    )
    return Detection(recipe=wanted, prepared=prepared, device=torch.device("cpu"))


def test_a_small_retinanet_learns_where_things_are(tmp_path: Path) -> None:
    learning = task(tmp_path, recipe.check(document(patches=10)), count=12)
    network = learning.network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.02)
    for epoch in range(4):
        for batch in learning.batches(epoch, 0):
            optimiser.zero_grad()
            sum(learning.loss(network, batch).values()).backward()  # type: ignore[union-attr]
            optimiser.step()
    network.eval()
    with torch.inference_mode():
        reached = learning.score(network)
    assert reached is not None
    assert reached > 0.8


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_trained_answers_from_its_bundle(tmp_path: Path, name: str) -> None:
    wanted = recipe.check(document(name, options={"score_threshold": 0.0}))
    learning = task(tmp_path, wanted, count=4)
    network = learning.network()
    losses = learning.loss(network, next(learning.batches(0, 0)))
    assert {"classification", "loss_classifier"} & set(losses)
    assert all(torch.isfinite(value) for value in losses.values())
    written = bundle.write(
        tmp_path / "bundle",
        wanted.spec("1.0"),
        weights=detectors.bundle_weights(wanted, network.state_dict()),
        card="# Test\n",
    )
    image = Image(pixels=np.load(tmp_path / "0.npy")[None])
    found = predictors.open(written, device=Device()).predict(image, checkpoint=go_on)
    assert {type(one) for one in found.findings} == {Found}


def test_a_loss_counts_by_its_weight(tmp_path: Path) -> None:
    plain = task(tmp_path, recipe.check(document()))
    weighted = Detection(
        recipe=recipe.check(document(loss_weights={"box_regression": 3.0})),
        prepared=plain.prepared,
        device=plain.device,
    )
    network, batch = plain.network(), next(plain.batches(0, 0))
    once, thrice = plain.loss(network, batch), weighted.loss(network, batch)
    assert thrice["box_regression"].item() == pytest.approx(3 * once["box_regression"].item())
    assert thrice["classification"].item() == pytest.approx(once["classification"].item())


def test_boxes_stay_on_things_however_a_patch_is_changed(tmp_path: Path) -> None:
    changes = {"flip": 0.5, "zoom": 0.3, "translate": 0.1}
    learning = task(tmp_path, recipe.check(document(augmentation=changes)))
    seen = 0
    for number in range(20):
        image, target = learning._patch(Draw(number % 4, np.random.default_rng(number)))
        for box, label in zip(target["boxes"], target["labels"], strict=True):
            is_there = (image[0] > 0.7) if label == 0 else (image[0] < 0.3) & (image[0] > 0.05)
            top, left, bottom, right = (round(float(edge)) for edge in box)
            inside = is_there[top:bottom, left:right].float().mean()
            assert inside > 0.8
            seen += 1
    assert seen > 25


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "faster-rcnn"}, "RetinaNet is trained with the loss retinanet or focal"),
        ({"loss_weights": {"mask": 1}}, "RetinaNet has no loss mask"),
        ({"augmentation": {"elastic": 1.0}}, "boxes do not bend"),
        ({"network": {"name": "UNet"}}, "a detection is trained with one of the networks"),
    ],
)
def test_what_does_not_fit_a_detector_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TrainingRefused, match=sentence):
        recipe.check(document(**changes))
