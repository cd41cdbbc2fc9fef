"""Automatic recipes: what they choose, and that it is trained by."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training import planning, planning_classification, process
from pipeline.training.faults import ManifestInvalid
from pipeline.training.planning_costs import Budget
from pipeline.training.planning_segmentation import Seen
from pipeline.training.recipe import Recipe
from tests.quick_training import write_balls, write_manifest

AUTO: dict[str, Any] = {
    "auto": "classification",
    "name": "quick",
    "title": "Quick",
    "modalities": ["OT"],
    "minutes": 0.001,
    "seed": 3,
}
DETECTION = AUTO | {"auto": "detection", "modalities": ["MR"]}
RESTORATION = AUTO | {
    "auto": "restoration",
    "modalities": ["MR"],
    "degradation": {"noise": [0.05, 0.1]},
}
GIGABYTE = 2**30
_PARTS = ("train", "train", "train", "validation", "test")


def seen(*shape: int, channels: int = 1, names: Sequence[str] = ("a", "b")) -> Seen:
    return Seen(
        shapes=[shape], spacings=None, channels=channels, classes=len(names) + 1, names=names
    )


def fields(look: Seen, cases: int, counts: Sequence[int], **budget: Any) -> dict[str, Any]:
    stated = {"minutes": 60.0, "cores": 2, "memory": 4 * GIGABYTE} | budget
    return planning_classification.plan(look, cases, counts, Budget(**stated), several=False)


def planned(document: dict[str, Any], manifest: Path) -> Recipe:
    return planning.plan(document, manifest, cores=2, memory=GIGABYTE, has_gpu=False)


def write(folder: Path, images: Sequence[np.ndarray], labels: Sequence[str]) -> Path:
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if image.dtype == np.uint8:
            name = f"{number}.png"
            Picture.fromarray(image).save(folder / name)
        else:
            name = f"{number}.npy"
            np.save(folder / name, image)
        rows.append((name, label, f"p{number}", _PARTS[number % 5]))
    return write_manifest(folder, rows)


def random_images(*shape: int, dtype: Any = np.uint8, count: int = 10) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(random.random(shape) * 255).astype(dtype) for _ in range(count)]


def test_small_images_keep_their_size_and_large_ones_become_as_fine_as_time_allows() -> None:
    assert fields(seen(28, 28), 4000, [2000, 2000])["input"]["size"] == [28, 28]
    assert fields(seen(512, 384), 1000, [500, 500])["input"]["size"] == [128, 96]
    hurried = fields(seen(512, 384), 1000, [500, 500], minutes=2.0)
    assert hurried["input"]["size"] < [128, 96]
    assert fields(seen(30, 100, 100), 200, [100, 100], minutes=600)["input"]["size"] == [20, 64, 64]


def test_more_time_never_gives_fewer_epochs_of_the_same_network() -> None:
    plans = [fields(seen(64, 64), 1000, [500, 500], minutes=m) for m in (0.5, 2, 8, 32, 128)]
    for less, more in itertools.pairwise(plans):
        if less["network"] == more["network"] and less["input"] == more["input"]:
            assert less["epochs"] <= more["epochs"]
    assert plans[-1]["network"]["arguments"]["block_inplanes"][0] == 32


def test_a_batch_fits_into_memory_and_an_epoch_has_steps() -> None:
    assert fields(seen(28, 28), 4000, [2000, 2000])["batch"] == 32
    assert fields(seen(28, 28), 100, [50, 50])["batch"] == 4
    small = fields(seen(128, 128), 4000, [2000, 2000], memory=GIGABYTE // 4)
    assert small["batch"] < 32


def test_uneven_classes_are_balanced() -> None:
    assert fields(seen(28, 28), 400, [50, 350])["classes"]["balance"] == "weights"
    assert fields(seen(28, 28), 400, [120, 280])["classes"]["balance"] == "none"


def test_the_same_cases_and_budget_give_the_same_recipe() -> None:
    assert fields(seen(96, 80), 700, [300, 400]) == fields(seen(96, 80), 700, [300, 400])


def test_classes_are_the_words_of_the_manifest(tmp_path: Path) -> None:
    path = write(tmp_path, random_images(24, 20), ["cat", "ant"] * 5)
    found = planned(AUTO, path)
    assert [label.name for label in found.labels] == ["ant", "cat"]
    assert found.input.size == (24, 20)
    assert (found.input.window, found.input.channels) == ((0.0, 255.0), 1)
    assert "Chosen by auto" in found.description


def test_classes_that_are_stated_may_each_have_a_column(tmp_path: Path) -> None:
    path = write(tmp_path, random_images(24, 20), ["cat", "ant"] * 5)
    header, *lines = path.read_text().split()
    columns = [line.replace(",cat,", ",0,1,").replace(",ant,", ",1,0,") for line in lines]
    path.write_text("\n".join([header.replace("label", "ant,cat"), *columns]))
    labels = [{"number": 0, "name": "ant"}, {"number": 1, "name": "cat"}]
    found = planned(AUTO | {"labels": labels}, path)
    assert [label.name for label in found.labels] == ["ant", "cat"]
    assert not found.takes_several_labels
    path.write_text("\n".join([header.replace("label", "ant,cat"), *columns]).replace("0,1", "1,1"))
    assert planned(AUTO | {"labels": labels}, path).takes_several_labels


def test_cases_of_several_classes_get_a_score_for_each(tmp_path: Path) -> None:
    labels = ["cat|ant", "-", "ant", "cat", "ant|cat"] * 2
    found = planned(AUTO, write(tmp_path, random_images(16, 16), labels))
    assert found.takes_several_labels
    assert found.loss == "binary-cross-entropy"


def test_colours_and_volumes_are_told_by_looking(tmp_path: Path) -> None:
    for name, images, dims, channels in [
        ("colours", random_images(16, 16, 3), 2, 3),
        ("volumes", random_images(12, 16, 20, dtype=np.float32), 3, 1),
    ]:
        (tmp_path / name).mkdir()
        found = planned(AUTO, write(tmp_path / name, images, ["cat", "ant"] * 5))
        assert (found.input.spatial_dims, found.input.channels) == (dims, channels)


@pytest.mark.parametrize(
    ("shape", "size"), [((12, 16, 20), (12, 16, 20)), ((6, 16, 16, 3), (16, 16))]
)
def test_loops_in_grey_are_classified_as_sequences(
    tmp_path: Path, shape: tuple[int, ...], size: tuple[int, ...]
) -> None:
    rows = []
    for number, pixels in enumerate(random_images(*shape)):
        first, *rest = map(Picture.fromarray, pixels)
        first.save(tmp_path / f"{number}.tif", save_all=True, append_images=rest)
        rows.append((f"{number}.tif", ("cat", "ant")[number % 2], f"p{number}", _PARTS[number % 5]))
    found = planned(AUTO, write_manifest(tmp_path, rows))
    least = tuple(max(side, 16) for side in size)
    assert (found.input.size, found.input.spatial_dims) == (least, len(size))


def test_a_segmentation_is_planned_by_its_own_rules(tmp_path: Path) -> None:
    volumes = random_images(16, 16, 16, dtype=np.float32)
    rows = []
    for number, volume in enumerate(volumes):
        np.save(tmp_path / f"{number}.npy", volume)
        np.save(tmp_path / f"{number}.mask.npy", (volume > 200).astype(np.uint8))
        rows.append((f"{number}.npy", f"{number}.mask.npy", f"p{number}", _PARTS[number % 5]))
    labels = [{"number": 1, "name": "bright"}]
    asked = AUTO | {"auto": "segmentation", "labels": labels}
    found = planned(asked, write_manifest(tmp_path, rows))
    assert (found.kind, found.network.name, found.input.spatial_dims) == (
        "segmentation",
        "DynUNet",
        3,
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"degradation": None}, "states a degradation"),
        ({"auto": "classification"}, "states a degradation"),
        ({"labels": [{"number": 0, "name": "noise"}]}, "has no labels"),
        ({"degradation": {"downsample": 5}}, "at most 4"),
        ({"degradation": {"downsample": 1}}, "leaves images as they are"),
    ],
)
def test_a_restoration_and_nothing_else_states_a_degradation_that_can_be_undone(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(TrainingRefused, match=why) as refused:
        planned(RESTORATION | changes, tmp_path / "none.csv")
    assert refused.value.reason is Reason.TRAINING_RECIPE_INVALID


@pytest.mark.parametrize("changes", [{"epochs": 3}, {"auto": "poetry"}, {"minutes": 0}])
def test_what_a_plan_does_not_know_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(TrainingRefused):
        planned(AUTO | changes, tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"auto": "segmentation"}, "labels are missing"),
        ({"auto": "detection", "labels": [{"number": 1, "name": "a"}]}, "labels are numbered 0"),
    ],
)
def test_labels_that_no_recipe_could_have_are_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(TrainingRefused, match=why) as refused:
        planned(AUTO | changes, tmp_path / "none.csv")
    assert refused.value.reason is Reason.TRAINING_RECIPE_INVALID


def test_faults_of_the_manifest_are_told_as_ever(tmp_path: Path) -> None:
    path = write(tmp_path, random_images(16, 16), ["cat", "ant"] * 5)
    (tmp_path / "0.png").write_bytes(b"no picture")
    (tmp_path / "1.png").unlink()
    with pytest.raises(ManifestInvalid):
        planned(AUTO, path)


class Quiet(process.Stop):
    """Nobody asks to stop."""

    def __init__(self) -> None:
        self.is_asked = False


def trained(folder: Path, document: dict[str, Any], manifest: Path) -> tuple[list[Any], Path]:
    """Train by an automatic recipe to the end; returns what was said, and the bundle."""
    said: list[Any] = []
    order = process.Order(
        recipe=document,
        manifest=str(manifest),
        folder=str(folder / "work"),
        bundle=str(folder / "bundle"),
        version="1.0",
        device="cpu",
        threads=1,
    )
    process.run(order, said.append, Quiet())
    return said, folder / "bundle"


def test_what_was_planned_is_trained_by_kept_and_stated_in_the_bundle(tmp_path: Path) -> None:
    images = random_images(16, 16, count=20)
    for image in images[1::2]:
        image[:] = image // 4
    said, bundle = trained(tmp_path, AUTO, write(tmp_path, images, ["bright", "dark"] * 10))
    (stated,) = (event["recipe"] for event in said if event["event"] == "recipe")
    assert stated == json.loads((tmp_path / "work" / "recipe.json").read_text())
    assert stated == json.loads((bundle / "configs" / "recipe.json").read_text())
    assert stated["epochs"] == 10


def test_a_detection_is_decided_by_its_boxes_and_trained(tmp_path: Path) -> None:
    said, bundle = trained(tmp_path, DETECTION, write_balls(tmp_path, "detection"))
    stated = json.loads((bundle / "configs" / "recipe.json").read_text())
    assert [label["name"] for label in stated["labels"]] == ["ball"]
    assert stated["network"]["arguments"]["anchor_shapes"] == [[6, 6, 6]]
    # in a thousandth of a minute, not even such volumes are seen whole
    assert (stated["input"]["size"], stated["input"]["spacing"]) == ([12, 12, 12], [1, 1, 1])
    assert said[-1]["event"] == "finished"
    assert "sensitivity" in said[-1]["metrics"]["labels"]["ball"]


def test_what_is_stated_of_a_detection_stands(tmp_path: Path) -> None:
    manifest = write_balls(tmp_path, "detection")
    stated = {
        "labels": [{"number": 0, "name": "ball"}],
        "evaluation": {"hit_iou": 0.25, "least_patients": 3},
    }
    free, bound = planned(DETECTION, manifest), planned(DETECTION | stated, manifest)
    assert (bound.evaluation.hit_iou, bound.evaluation.least_patients) == (0.25, 3)
    assert free.evaluation.hit_iou == 0.17
    assert free.labels == bound.labels


@pytest.mark.parametrize(
    ("boxes", "labels", "why"),
    [
        ([], [], "has a box"),
        ([], [{"number": 0, "name": "ball"}], "has ball"),
        (None, [{"number": 0, "name": "ball"}, {"number": 1, "name": "cube"}], "has cube"),
    ],
)
def test_boxes_that_teach_nothing_are_refused(
    tmp_path: Path, boxes: list[Any] | None, labels: list[Any], why: str
) -> None:
    manifest = write_balls(tmp_path, "detection")
    for file in tmp_path.glob("*.json") if boxes is not None else ():
        file.write_text(json.dumps({"boxes": boxes}))
    with pytest.raises(ManifestInvalid, match=why) as refused:
        planned(DETECTION | {"labels": labels}, manifest)
    assert refused.value.reason is Reason.TRAINING_MANIFEST_INVALID


@pytest.mark.parametrize("degradation", [{"noise": [0.05, 0.1]}, {"downsample": 2}])
def test_a_restoration_is_decided_by_what_it_undoes_and_trained(
    tmp_path: Path, degradation: dict[str, Any]
) -> None:
    manifest = write_balls(tmp_path, "restoration")
    said, bundle = trained(tmp_path, RESTORATION | {"degradation": degradation}, manifest)
    stated = json.loads((bundle / "configs" / "recipe.json").read_text())
    scale = degradation.get("downsample", 1)
    assert stated["degradation"]["downsample"] == stated["options"]["scale"] == scale
    # too few slices of a coarser grid to be seen in three axes
    assert stated["input"]["spatial_dims"] == (3 if scale == 1 else 2)
    assert said[-1]["event"] == "finished"
    assert said[-1]["metrics"]["psnr_db"]["value"] > 10


def test_the_window_of_a_restored_ct_is_wide(tmp_path: Path) -> None:
    rows = []
    for number in range(5):
        image = np.zeros((16, 16, 16), np.float32) + 40
        image[0, 0, :8] = 1980.0  # 8 voxels of 4096 are as bright as metal
        image[1, number, number] = 41
        np.save(tmp_path / f"{number}.npy", image)
        rows.append((f"{number}.npy", "", f"p{number}", _PARTS[number]))
    found = planned(RESTORATION | {"modalities": ["CT"]}, write_manifest(tmp_path, rows))
    assert found.input.window == (0.0, 2000.0)
