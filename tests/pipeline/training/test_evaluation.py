"""Metrics against values worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.results import Classification, Detection, Prediction
from pipeline.training import evaluation
from pipeline.training.evaluation import Judged, Outcome
from pipeline.training.reading import Box, Truth
from pipeline.volume import Image, Input, Volume

VOLUME = Volume(stored=np.zeros((4, 4, 4), np.int16), affine=np.diag([2.0, 1.0, 1.0, 1.0]))


def classified(truth: int, *scores: float, patient: str = "") -> Judged:
    return Judged(patient_id=patient or str(scores), classified=(truth, scores))


def segmented(truth: np.ndarray, found: np.ndarray, image: Input = VOLUME) -> Judged:
    outcome = Outcome(
        patient_id="p",
        image=image,
        truth=Truth(mask=truth.astype(np.uint8)),
        prediction=Prediction(findings=(), label_map=found.astype(np.uint8)),
    )
    return evaluation.judge(["nodule"], outcome)


def filled(count: int, start: int = 0) -> np.ndarray:
    mask = np.zeros(64)
    mask[start : start + count] = 1
    return mask.reshape(4, 4, 4)


def test_accuracy_confusion_and_area_under_the_curve() -> None:
    cases = [
        classified(0, 0.9, 0.1, patient="a"),
        classified(0, 0.4, 0.6, patient="b"),
        classified(1, 0.3, 0.7, patient="c"),
        classified(1, 0.45, 0.55, patient="d"),
    ]
    found = evaluation.evaluate("classification", ["no", "yes"], cases)
    assert json.loads(json.dumps(found)) == found
    assert found["accuracy"]["value"] == 0.75
    assert found["accuracy"]["low"] <= 0.75 <= found["accuracy"]["high"]
    assert found["confusion"] == [[1, 1], [0, 2]]
    assert found["auc"]["yes"] == 0.75  # 3 of 4 pairs are in the right order


def test_the_curve_has_no_area_where_one_class_is_missing() -> None:
    assert evaluation.area_under_curve(np.array([0.1, 0.9]), np.array([True, True])) is None


def test_ties_count_by_half() -> None:
    assert evaluation.area_under_curve(np.array([0.5, 0.5]), np.array([True, False])) == 0.5


def test_scores_are_read_by_label_not_by_order() -> None:
    findings = (Classification(label="yes", score=0.8), Classification(label="no", score=0.2))
    outcome = Outcome(
        patient_id="p",
        image=Image(pixels=np.zeros((1, 2, 2), np.float32)),
        truth=Truth(label="yes"),
        prediction=Prediction(findings=findings),
    )
    assert evaluation.judge(["no", "yes"], outcome).classified == (1, (0.2, 0.8))


def test_dice_of_a_known_overlap() -> None:
    found = evaluation.evaluate("segmentation", ["nodule"], [segmented(filled(6), filled(6, 3))])
    assert found["dice"]["nodule"]["value"] == pytest.approx(0.5)


def test_a_false_alarm_on_an_empty_reference_is_seen_apart() -> None:
    cases = [segmented(filled(0), filled(5)), segmented(filled(8), filled(8))]
    found = evaluation.evaluate("segmentation", ["nodule"], cases)
    assert json.loads(json.dumps(found)) == found
    assert found["dice"]["nodule"]["value"] == 1.0
    assert found["dice"]["nodule"]["cases"] == 1
    assert found["empty_reference"]["nodule"] == {
        "cases": 1,
        "cases_with_false_alarm": 1,
        "mean_false_alarm_ml": pytest.approx(0.01),
    }


def test_a_false_alarm_in_a_single_image_is_counted_in_pixels() -> None:
    picture = Image(pixels=np.zeros((1, 8, 8), np.float32))
    masks = [filled(count).reshape(1, 8, 8) for count in (0, 7)]
    found = evaluation.evaluate("segmentation", ["spot"], [segmented(*masks, picture)])
    assert found["empty_reference"]["spot"]["mean_false_alarm_pixels"] == 7.0


def test_without_a_reference_dice_has_no_value() -> None:
    found = evaluation.evaluate("segmentation", ["nodule"], [segmented(filled(0), filled(0))])
    assert found["dice"]["nodule"]["value"] is None


def test_a_box_in_mm_and_the_predictors_box_are_on_one_grid() -> None:
    truth = Box(label="nodule", centre=(3.0, 1.0, 2.0), size=(4.0, 2.0, 2.0))
    # affine diag(2, 1, 1): slices 2 mm apart along x
    edges = evaluation.index_box(truth, VOLUME)
    assert edges == pytest.approx([1.0, 0.5, 1.5, 3.0, 2.5, 3.5])
    finding = Detection(
        label="nodule",
        score=0.9,
        index_box=(1.0, 0.5, 1.5, 3.0, 2.5, 3.5),
        centre=truth.centre,
        size=truth.size,
    )
    outcome = Outcome(
        patient_id="p",
        image=VOLUME,
        truth=Truth(boxes=(truth,)),
        prediction=Prediction(findings=(finding,)),
    )
    found = evaluation.evaluate("detection", ["nodule"], [evaluation.judge(["nodule"], outcome)])
    assert json.loads(json.dumps(found)) == found
    assert found["labels"]["nodule"]["sensitivity"]["value"] == 1.0
    assert found["labels"]["nodule"]["false_positives_per_scan"] == 0.0


def test_intervals_resample_patients_not_cases() -> None:
    # one patient with many right cases, one with a single wrong one: the interval spans both
    many = [classified(0, 0.9, 0.1, patient="a") for _ in range(50)]
    found = evaluation.evaluate(
        "classification", ["no", "yes"], [*many, classified(0, 0.1, 0.9, patient="b")]
    )
    assert found["patients"] == 2
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == (0.0, 1.0)
