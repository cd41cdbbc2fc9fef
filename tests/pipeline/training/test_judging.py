"""Held-out cases and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StudyRejected
from pipeline.evaluation.scores import Boxes
from pipeline.models.predictor import Checkpoint
from pipeline.reasons import Reason
from pipeline.results import Classification, Detection, Prediction
from pipeline.training import judging, manifest, recipe
from pipeline.training.boxes import Box, index_box
from pipeline.training.manifest import Part
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Image, Input, Volume
from tests import quick_training

VOLUME = Volume(stored=np.zeros((4, 4, 4), np.int16), affine=np.diag([2.0, 1.0, 1.0, 1.0]))


def filled(count: int, start: int = 0) -> np.ndarray:
    mask = np.zeros(64, np.uint8)
    mask[start : start + count] = 1
    return mask.reshape(4, 4, 4)


class Says:
    """Answers the same to everything."""

    def __init__(self, wanted: Recipe, prediction: Prediction) -> None:
        self.spec = wanted.spec("1")
        self._prediction = prediction

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        del image
        checkpoint()
        return self._prediction


def test_held_out_cases_are_judged_without_naming_anybody(tmp_path: Path) -> None:
    wanted = recipe.check(quick_training.CLASSIFICATION)
    path = quick_training.write_images(tmp_path)
    cases = manifest.freeze(path, wanted).part(Part.HELD_OUT)
    # two cases of one patient, one of whom states a group
    cases = tuple(
        replace(case, patient_id="Mrs Example" if number < 2 else case.patient_id)
        for number, case in enumerate(cases)
    )
    cases = (replace(cases[0], groups=(("sex", "female"),)), *cases[1:])
    says = (Classification(label="bright", score=0.9), Classification(label="dark", score=0.1))
    found = judging.judge(
        cases, wanted, Says(wanted, Prediction(findings=says)), checkpoint=lambda: None
    )
    assert len(found.cases) == len(cases) > 2
    assert [one.case for one in found.cases] == [case.digest for case in cases]
    assert found.patients[0] == found.patients[1] == min(case.digest for case in cases[:2])
    assert len(set(found.patients)) == len(cases) - 1
    assert found.cases[0].groups == {"sex": "female"}
    assert {one.classified.truth for one in found.cases if one.classified} == {0, 1}
    assert not any(case.patient_id in found.dump() for case in cases[:2])


def test_93_a_held_out_file_that_is_not_what_was_hashed_is_not_judged(tmp_path: Path) -> None:
    wanted = recipe.check(quick_training.CLASSIFICATION)
    cases = manifest.freeze(quick_training.write_images(tmp_path), wanted).part(Part.HELD_OUT)
    np.save(cases[0].image, np.zeros((16, 16), np.float32))
    says = Says(wanted, Prediction(findings=()))
    with pytest.raises(StudyRejected) as refused:
        judging.judge(cases, wanted, says, checkpoint=lambda: None)
    assert refused.value.reason is Reason.FILE_CHANGED


def test_scores_are_read_by_label_not_by_order() -> None:
    findings = (Classification(label="yes", score=0.8), Classification(label="no", score=0.2))
    found = judging.classified(Truth(label="yes"), Prediction(findings=findings), ["no", "yes"])
    assert (found.truth, found.scores) == (1, (0.2, 0.8))


def test_masks_are_compared_label_by_label() -> None:
    truth, answer = filled(6), filled(6, 3)
    truth[3], answer[3] = 2, 0
    first, second = judging.overlaps(
        Truth(mask=truth), Prediction(findings=(), label_map=answer), VOLUME, 2, 2.0
    )
    assert first.dice == pytest.approx(0.5)
    assert first.true_size == pytest.approx(6 * 0.002)
    assert (second.dice, second.found_size) == (0.0, 0.0)


def test_a_false_alarm_in_a_single_image_is_counted_in_pixels() -> None:
    picture = Image(pixels=np.zeros((1, 8, 8), np.float32))
    truth, answer = (filled(count).reshape(1, 8, 8) for count in (0, 7))
    (found,) = judging.overlaps(
        Truth(mask=truth), Prediction(findings=(), label_map=answer), picture, 1, 2.0
    )
    assert (found.is_empty, found.found_size, found.unit) == (True, 7.0, "pixels")


def test_a_box_in_mm_and_the_predictors_box_are_on_one_grid() -> None:
    truth = Box(label="nodule", centre=(3.0, 1.0, 2.0), size=(4.0, 2.0, 2.0))
    # affine diag(2, 1, 1): slices 2 mm apart along x
    assert index_box(truth, VOLUME) == pytest.approx([1.0, 0.5, 1.5, 3.0, 2.5, 3.5])
    finding = Detection(
        label="nodule",
        score=0.9,
        index_box=(1.0, 0.5, 1.5, 3.0, 2.5, 3.5),
        centre=truth.centre,
        size=truth.size,
    )
    prediction = Prediction(findings=(finding,))
    found = judging.boxes(Truth(boxes=(truth,)), prediction, VOLUME, "nodule")
    assert found == Boxes(truths=1, scores=(0.9,), overlaps=((1.0,),))
    assert judging.boxes(Truth(boxes=(truth,)), prediction, VOLUME, "cyst") == Boxes(truths=0)
