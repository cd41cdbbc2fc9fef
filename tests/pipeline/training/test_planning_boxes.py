"""Boxes of a training part, looked at: their labels and sides, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.training import planning_boxes, recipe
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import Case, Part
from pipeline.training.planning_boxes import SeenBoxes
from tests import quick_training

Stated = Mapping[str, Any]


def pixels(label: str, low: Sequence[float], high: Sequence[float]) -> Stated:
    return {"label": label, "low": low, "high": high}


def mm(label: str, *size: float) -> Stated:
    return {"label": label, "centre": [0.0, 0.0, 0.0], "size": size}


def cases(folder: Path, boxes: Sequence[Sequence[Stated]]) -> list[Case]:
    made = []
    for row, stated in enumerate(boxes, 1):
        label = folder / f"{row}.json"
        label.write_text(json.dumps({"boxes": stated}))
        made.append(case(row, label))
    return made


def case(row: int, label: Path) -> Case:
    return Case(
        row=row,
        image=label.with_suffix(".png"),
        label=label,
        patient_id=f"p{row}",
        part=Part.TRAINING,
        image_digest=str(row),
        label_digest=str(row),
    )


def look(found: Sequence[Case], *names: str, dims: int = 2) -> SeenBoxes:
    wanted = recipe.check(quick_training.DETECTION)
    return planning_boxes.look(found, {}, wanted, names, spatial_dims=dims)


def test_sides_are_told_by_label_in_pixels_or_in_mm(tmp_path: Path) -> None:
    flat = cases(
        tmp_path,
        [
            [pixels("ant", (0, 0), (4, 6)), pixels("bee", (1, 1), (3, 2))],
            [],
            [pixels("ant", (2, 2), (4, 4))],
        ],
    )
    found = look(flat)
    assert [*found.sides] == ["ant", "bee"]
    assert found.sides["ant"].tolist() == [[4, 6], [2, 2]]
    assert found.most == 2
    deep = look(cases(tmp_path, [[mm("ant", 3, 4, 5)]]), dims=3)
    assert deep.sides["ant"].tolist() == [[3, 4, 5]]


def test_labels_that_are_stated_stand_in_their_order(tmp_path: Path) -> None:
    found = look(
        cases(tmp_path, [[pixels("ant", (0, 0), (4, 6)), pixels("bee", (1, 1), (3, 2))]]),
        "bee",
        "ant",
    )
    assert [*found.sides] == ["bee", "ant"]


def test_boxes_without_an_area_are_none(tmp_path: Path) -> None:
    flat = cases(tmp_path, [[pixels("ant", (0, 0), (4, 6)), pixels("bee", (1, 1), (1, 2))]])
    assert [*look(flat).sides] == ["ant"]


def test_a_training_part_without_a_box_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid, match="no case of the training part has a box"):
        look(cases(tmp_path, [[], []]))


def test_a_label_that_no_box_has_is_refused(tmp_path: Path) -> None:
    flat = cases(tmp_path, [[pixels("ant", (0, 0), (4, 6))]])
    with pytest.raises(ManifestInvalid, match="no case of the training part has bee"):
        look(flat, "ant", "bee")


def test_files_that_are_none_and_boxes_of_other_images_are_refused_by_row(tmp_path: Path) -> None:
    found = cases(tmp_path, [[mm("ant", 3, 4, 5)], [pixels("ant", (0, 0), (4, 6))]])
    (tmp_path / "3.json").write_text("{}")
    with pytest.raises(ManifestInvalid) as refused:
        look([*found, case(3, tmp_path / "3.json")])
    assert [fault.row for fault in refused.value.faults] == [1, 3]
    assert "in mm" in refused.value.faults[0].sentence


def test_dicom_objects_need_labels_that_are_stated(tmp_path: Path) -> None:
    label = tmp_path / "1.dcm"
    label.write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ManifestInvalid, match="the recipe states none"):
        look([case(1, label)])


def test_dicom_objects_of_images_that_nobody_looked_at_say_nothing_yet(tmp_path: Path) -> None:
    label = tmp_path / "9.dcm"
    label.write_bytes(bytes(128) + b"DICM")
    known = cases(tmp_path, [[pixels("ant", (0, 0), (4, 6))]])
    found = look([*known, case(9, label)], "ant", "bee")
    assert np.array_equal(found.sides["ant"], [[4, 6]])
    with pytest.raises(ManifestInvalid, match="has a box"):
        look([case(9, label)], "ant")
