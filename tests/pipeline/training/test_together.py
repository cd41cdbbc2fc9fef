"""What all cases together tell: labels that none of them teaches, or none of them tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training import manifest, preparing, recipe, segmentation, together, truths
from pipeline.training.boxes import PixelBox
from pipeline.training.cache import Entry
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import Case, Part
from pipeline.training.reading import Truth
from tests import quick_training

CLASSES = recipe.check(quick_training.CLASSIFICATION)
BALLS = recipe.check(quick_training.SEGMENTATION)


def noted(row: int, part: Part, *labels: str, pixels: str = "") -> tuple[Case, Entry]:
    case = Case(
        row=row,
        image=Path("a"),
        label="",
        patient_id=f"p{row}",
        part=part,
        image_digest="",
        label_digest="",
    )
    warnings = (("label", "boxes were cut"),) if row == 2 else ()
    return case, Entry(pixels=(pixels or str(row),), labels=labels, warnings=warnings)


def test_90_a_label_that_no_case_of_the_training_part_has_is_a_fault() -> None:
    cases = [noted(1, Part.TRAINING, "dark"), noted(2, Part.VALIDATION, "bright")]
    assert [one.sentence for one in together.untaught(cases, CLASSES)] == [
        "no case of the training part has bright"
    ]
    assert not list(together.untaught([*cases, noted(3, Part.TRAINING, "bright")], CLASSES))


def test_a_label_that_is_not_held_out_and_what_was_mended_are_said() -> None:
    cases = [noted(1, Part.TRAINING, "dark", "bright"), noted(2, Part.HELD_OUT, "bright")]
    assert [(one.row, one.column) for one in together.warnings(cases, CLASSES)] == [
        (2, "label"),
        (0, "label"),
    ]


def test_only_images_of_other_cases_count_as_repeated() -> None:
    case, entry = noted(1, Part.TRAINING)
    twice = (case, Entry(pixels=(*entry.pixels, *entry.pixels)))
    other = noted(2, Part.HELD_OUT, pixels="1")
    assert not list(together.repeated([twice]))
    assert [one.row for one in together.repeated([other, twice])] == [2]


def test_labels_are_found_in_every_kind_of_truth() -> None:
    box = PixelBox(label="bright", low=(0.0, 0.0), high=(1.0, 1.0))
    assert truths.labels_in(Truth(label="bright"), CLASSES) == ("bright",)
    assert truths.labels_in(Truth(label="dark|bright"), CLASSES) == ("dark", "bright")
    assert truths.labels_in(Truth(boxes=(box,)), CLASSES) == ("bright",)
    for voxels, expected in (([0, 1], ("ball",)), ([0, 0], ())):
        mask = np.array([[voxels]], np.uint8)
        assert truths.labels_in(Truth(mask=mask), BALLS) == expected


def test_90_masks_without_a_label_are_a_fault_before_anything_trains(tmp_path: Path) -> None:
    path = quick_training.write_balls(tmp_path, "segmentation")
    for file in tmp_path.glob("*.mask.npy"):
        np.save(file, np.zeros((16, 16, 16), np.uint8))
    made = segmentation.preparation(BALLS)
    with pytest.raises(ManifestInvalid, match="no case of the training part has ball"):
        preparing.prepare(
            manifest.freeze(path, BALLS), BALLS, made, tmp_path / "kept", checkpoint=lambda: None
        )
