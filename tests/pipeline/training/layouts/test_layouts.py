"""Sets as they come: what a manifest that was made of them says is what lies in the folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from pipeline.training import box_files, layouts, likeness, manifest, pictures, recipe
from pipeline.training.boxes import PixelBox
from pipeline.training.layouts.line import LayoutRefused
from tests import data as public
from tests import quick_training


def picture(path: Path, seed: int) -> Path:
    """Save a picture of 20 x 20 that looks like no other seed's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5)).astype(np.uint8)
    Picture.fromarray(np.kron(coarse, np.ones((4, 4), np.uint8))).save(path)
    return path


def made(folder: Path, layout: str, out: Path, **how: Any) -> list[dict[str, str]]:
    found = layouts.make(folder, layout, out / "cases.csv", **how)
    with found.manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert found.cases == len(rows)
    assert found.patients == len({row["patient_id"] for row in rows})
    return rows


def test_a_folder_of_each_class_becomes_cases_that_train(tmp_path: Path) -> None:
    names = ("dark", "bright")
    for seed in range(40):
        picture(tmp_path / "set" / names[seed % 2] / f"{seed}.png", seed)
    rows = made(tmp_path / "set", "classes", tmp_path / "made")
    assert {(Path(row["image"]).name, row["label"]) for row in rows} == {
        (f"{seed}.png", names[seed % 2]) for seed in range(40)
    }
    wanted = recipe.check(quick_training.CLASSIFICATION)
    snapshot = manifest.freeze(tmp_path / "made" / "cases.csv", wanted)
    assert sum(snapshot.counts().values()) == 40


def test_folders_of_parts_are_the_split(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "val", "test")):
        picture(tmp_path / "set" / part / "dark" / f"{seed}.png", seed)
    rows = made(tmp_path / "set", "classes", tmp_path / "made")
    assert [row["split"] for row in rows] == ["test", "train", "val"]
    assert {row["label"] for row in rows} == {"dark"}


def test_a_mask_without_an_image_and_an_image_without_a_mask_stay_to_be_found(
    tmp_path: Path,
) -> None:
    names = ("images/a.nii.gz", "images/b.png", "labels/a.nii", "labels/c.png")
    for number, name in enumerate(names):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"%d" % number)
    rows = made(tmp_path / "set", "masks", tmp_path)
    assert [(row["image"], row["label"]) for row in rows] == [
        ("set/images/a.nii.gz", "set/labels/a.nii"),
        ("set/images/b.png", ""),
        ("", "set/labels/c.png"),
    ]


@pytest.mark.parametrize("has_lists", [False, True])
def test_folders_of_pascal_voc_and_their_lists(tmp_path: Path, *, has_lists: bool) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        picture(tmp_path / "JPEGImages" / f"{name}.png", seed)
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{name}.xml").write_text("<annotation/>")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for part, name in (("train", "a"), ("val", "b"), ("test", "c")):
        if has_lists or part != "test":
            (tmp_path / "ImageSets" / "Main" / f"{part}.txt").write_text(f"{name}\n")
    rows = made(tmp_path, "voc", tmp_path)
    assert [row["split"] for row in rows] == (
        ["train", "validation", "test"] if has_lists else ["", "", ""]
    )
    assert [row["label"] for row in rows] == [f"Annotations/{name}.xml" for name in "abc"]


def test_a_file_of_coco_becomes_a_file_of_boxes_for_each_image(tmp_path: Path) -> None:
    for seed in range(2):
        picture(tmp_path / "train" / f"{seed}.png", seed)
    document = {
        "images": [
            {"id": seed, "file_name": f"{seed}.png", "width": 20, "height": 20} for seed in range(3)
        ],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    rows = made(tmp_path, "coco", tmp_path / "made")
    assert [row["image"] for row in rows] == ["../train/0.png", "../train/1.png", ""]
    stated = [box_files.read(tmp_path / "made" / row["label"]) for row in rows]
    box = PixelBox(label="cell", low=(2.0, 1.0), high=(6.0, 4.0))
    assert [one.boxes for one in stated] == [(), (box,), ()]
    assert {one.drawn_on for one in stated} == {(20, 20)}


def test_arrays_of_medmnist_become_pictures_each_of_them_once(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 28, 28)).astype(np.uint8)
    images[4] = images[0]
    np.savez(
        tmp_path / "some.npz",
        train_images=images[:3],
        train_labels=np.array([[0], [1], [0]]),
        val_images=images[3:4],
        val_labels=np.array([[1]]),
        test_images=images[4:],
        test_labels=np.array([[0]]),
    )
    rows = made(tmp_path, "medmnist", tmp_path / "made")
    assert [(row["label"], row["split"]) for row in rows] == [
        ("0", "train"),
        ("1", "train"),
        ("0", "train"),
        ("1", "validation"),
    ]
    stored = [pictures.read(tmp_path / "made" / row["image"], is_colour=False) for row in rows]
    assert np.array_equal(np.concatenate([one.pixels for one in stored]), images[:4])


def test_several_labels_of_medmnist_are_joined(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3)).astype(np.uint8)
    np.savez(
        tmp_path / "some.npz", train_images=images, train_labels=np.array([[0, 1, 1], [0, 0, 0]])
    )
    rows = made(tmp_path, "medmnist", tmp_path / "made")
    assert [(row["label"], row["split"]) for row in rows] == [("1|2", ""), ("-", "")]


@pytest.mark.parametrize("layout", list(layouts.LAYOUTS))
def test_a_folder_of_another_layout_is_refused(tmp_path: Path, layout: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("nothing here")
    for folder in (tmp_path / "set", tmp_path / "nowhere"):
        with pytest.raises(LayoutRefused):
            layouts.make(folder, layout, tmp_path / "made" / "cases.csv")
    assert not (tmp_path / "made" / "cases.csv").exists()


def test_what_looks_alike_is_one_patient(tmp_path: Path) -> None:
    """A copy in another format, a brighter one and a slightly moved one, of the first of three."""
    first = np.asarray(Picture.open(picture(tmp_path / "set" / "dark" / "a.png", 1)))
    picture(tmp_path / "set" / "dark" / "b.png", 2)
    picture(tmp_path / "set" / "bright" / "c.png", 3)
    Picture.fromarray(first).save(tmp_path / "set" / "bright" / "d.jpg", quality=60)
    Picture.fromarray(first // 2 + 60).save(tmp_path / "set" / "bright" / "e.tif")
    rows = made(tmp_path / "set", "classes", tmp_path)
    patients = {Path(row["image"]).stem: row["patient_id"] for row in rows}
    assert patients["a"] == patients["d"] == patients["e"]
    assert len(set(patients.values())) == 3
    rows = made(tmp_path / "set", "classes", tmp_path, alike=1.0)
    assert len({row["patient_id"] for row in rows}) == 5


def test_likeness_is_passed_on_and_empty_images_are_like_none() -> None:
    angles = np.radians([0.0, 10.0, 20.0, 90.0])  # cosines of neighbours 0.985, of ends 0.94
    vectors = [np.array([np.cos(one), np.sin(one)], np.float32) for one in angles]
    assert likeness.groups([*vectors, np.zeros(2, np.float32)]) == [0, 0, 0, 3, 4]
    assert not likeness.describe(np.full((1, 9, 9), 7)).any()


def test_real_brain_slices_fall_into_many_small_groups(tmp_path: Path) -> None:
    folder = public.shared("labelled", "cls_brain_tumor_mri", "train")
    some = tmp_path / "some"
    for place in folder.iterdir():
        (some / place.name).mkdir(parents=True)
        for image in sorted(place.iterdir())[:20]:
            (some / place.name / image.name).symlink_to(image)
    rows = made(some, "classes", tmp_path)
    sizes = np.unique([row["patient_id"] for row in rows], return_counts=True)[1]
    assert len(rows) == 80
    assert 1 < sizes.max() < 8
