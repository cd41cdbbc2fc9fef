"""Questions about hippocampi: what is left out in the second training is what the answer needs."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bench.quality import forms
from pipeline.training import recipe

COUNT = 24
RECIPES = Path(forms.__file__).parent / "recipes"
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of bricks, brighter towards the front, whose front third is anterior."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    random = np.random.default_rng(0)
    for number in range(COUNT):
        deep = int(random.integers(20, 40))
        image = np.broadcast_to(np.linspace(50, 100, deep)[None, :, None], (20, deep, 18))
        parts = np.zeros(image.shape, np.uint8)
        parts[5:15, 4:-4, 5:13] = 2
        parts[5:15, deep - deep // 3 : -4, 5:13] = 1
        for kind, values in (("images", image.astype(np.float32)), ("labels", parts)):
            file = nibabel.Nifti1Image(np.asarray(values), np.eye(4))
            nibabel.save(file, folder / kind / f"hippocampus_{number:03}.nii.gz")
    return folder


def written(source: Path, folder: Path, name: str) -> Rows:
    task = next(
        one
        for ablation in forms.ABLATIONS
        for draw in ablation.draws
        for one in draw
        if one.name == name
    )
    folder.mkdir()
    with task.manifest(source, folder).open() as table:
        return list(csv.DictReader(table))


def test_one_series_is_learnt_from_as_two_are_but_for_the_series() -> None:
    two, one = (
        recipe.parse((RECIPES / f"{name}.yaml").read_text()).model_dump()
        for name in ("series", "one-series")
    )
    for stated, channels, images in ((two, 2, ()), (one, 1, (0,))):
        assert stated["network"]["arguments"].pop("in_channels") == channels
        assert stated["input"].pop("channels") == channels
        assert tuple(stated["input"].pop("images", ())) == images
    assert two == one


def test_slices_run_as_the_label_says_and_are_shuffled_where_nothing_is_judged(
    source: Path, tmp_path: Path
) -> None:
    for name in ("order", "no-order"):
        rows = written(source, tmp_path / name, name)
        assert {row["label"] for row in rows} == {"from-front", "from-behind"}
        for row in rows:
            slices = np.load(tmp_path / name / row["image"]).max(axis=(1, 2))
            seen = slices[slices > 0]
            rising = (np.diff(seen) > 0).mean()
            if name == "order" or row["split"] == "held-out":
                assert rising == (1.0 if row["label"] == "from-behind" else 0.0)
            else:
                assert 0 < rising < 1


def test_both_sides_of_an_ablation_are_judged_on_the_same_cases(
    source: Path, tmp_path: Path
) -> None:
    for ablation in forms.ABLATIONS:
        held_out = []
        for task in ablation.draws[0]:
            folder = tmp_path / task.name
            rows = written(source, folder, task.name)
            held_out.append(
                [
                    (row["patient_id"], row["label"], (folder / row["image"]).read_bytes())
                    for row in rows
                    if row["split"] == "held-out"
                ]
            )
        assert held_out[0]
        assert held_out[0] == held_out[1]


def test_the_larger_series_is_the_one_that_shows_more(source: Path, tmp_path: Path) -> None:
    rows = written(source, tmp_path / "series", "series")
    labels = set()
    for row in rows:
        first, second = (
            np.count_nonzero(np.load(tmp_path / "series" / row[name]))
            for name in ("image", "image2")
        )
        assert row["label"] == ("larger" if first > second else "smaller")
        labels.add(row["label"])
    assert labels == {"larger", "smaller"}


def test_an_age_is_needed_to_say_what_is_small(source: Path, tmp_path: Path) -> None:
    rows = written(source, tmp_path / "table", "table")
    assert all(50 <= int(row["age"]) <= 90 for row in rows)
    sizes = [np.count_nonzero(np.load(tmp_path / "table" / row["image"])) for row in rows]
    is_small = np.array([row["label"] == "small" for row in rows])
    assert max(np.array(sizes)[is_small]) > min(np.array(sizes)[~is_small])
