"""Labels of rows: one class, any number of them, or a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training import manifest, recipe
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import labels
from pipeline.training.recipe import Recipe
from tests import quick_training

ONE = recipe.check(quick_training.CLASSIFICATION)
SIGMOID = {"options": {"activation": "sigmoid"}, "loss": "binary-cross-entropy"}
SEVERAL = recipe.check(quick_training.CLASSIFICATION | SIGMOID)


def written(folder: Path, *stated: str, more: str = "") -> Path:
    """Write a manifest with these labels and two good cases."""
    lines = [f"image,label,patient_id,split{',site' if more else ''}"]
    for number, label in enumerate([*stated, "dark", "bright", "dark"]):
        np.save(folder / f"{number}.npy", np.full((4, 4), number, np.float32))
        part = "test" if number == len(stated) + 2 else "train"
        lines.append(f"{number}.npy,{label},p{number},{part}{more}")
    (folder / "cases.csv").write_text("\n".join(lines))
    return folder / "cases.csv"


def found(path: Path, wanted: Recipe) -> list[object]:
    cases = sorted(manifest.freeze(path, wanted).cases, key=lambda case: case.row)
    return [case.label for case in cases][:-3]


def faults(path: Path, wanted: Recipe) -> list[tuple[int, str]]:
    with pytest.raises(ManifestInvalid) as refused:
        manifest.freeze(path, wanted)
    return [(fault.row, fault.column) for fault in refused.value.faults]


def test_several_classes_stand_in_the_order_of_the_recipe(tmp_path: Path) -> None:
    path = written(tmp_path, "bright | dark", "dark", "-", "bright|bright")
    assert found(path, SEVERAL) == ["dark|bright", "dark", "-", "bright"]
    assert labels.classes_of("dark|bright") == ("dark", "bright")
    assert labels.classes_of("-") == ()


def test_several_classes_are_refused_where_one_is_true(tmp_path: Path) -> None:
    assert faults(written(tmp_path, "dark|bright", "-"), ONE) == [(1, "label"), (2, "label")]


@pytest.mark.parametrize("wanted", [ONE, SEVERAL])
def test_87_a_label_outside_the_class_list_is_refused(tmp_path: Path, wanted: Recipe) -> None:
    path = written(tmp_path, "purple", "dark|purple", "")
    assert faults(path, wanted) == [(1, "label"), (2, "label"), (3, "label")]


def test_88_a_mask_that_is_missing_is_refused(tmp_path: Path) -> None:
    wanted = recipe.check(quick_training.SEGMENTATION)
    path = quick_training.write_balls(tmp_path, "segmentation")
    (tmp_path / "4.mask.npy").unlink()
    assert faults(path, wanted) == [(5, "label")]


def test_a_label_without_an_image_says_so(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() + "\n,dark,p9,train")
    with pytest.raises(ManifestInvalid, match="the label has no image"):
        manifest.freeze(path, ONE)


def test_90_a_class_that_nothing_can_be_learnt_of_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("bright,p1,train", "dark,p1,train"))
    with pytest.raises(ManifestInvalid, match="no case of the training part is bright"):
        manifest.freeze(path, ONE)


def test_91_one_site_only_is_said_but_not_refused(tmp_path: Path) -> None:
    def columns(path: Path) -> list[str]:
        return [one.column for one in manifest.freeze(path, ONE).warnings]

    assert "site" in columns(written(tmp_path, more=",Ghent"))
    assert "site" not in columns(written(tmp_path))


def test_92_shell_text_in_a_name_is_a_name(tmp_path: Path) -> None:
    name = "x; touch owned; $(touch owned) `touch owned`.npy"
    np.save(tmp_path / name, np.full((4, 4), 9, np.float32))
    path = written(tmp_path)
    path.write_text(path.read_text() + f"\n{name},dark,; touch owned,train")
    snapshot = manifest.freeze(path, ONE)
    assert name in {case.image.name for case in snapshot.cases}
    assert not list(tmp_path.rglob("owned"))
