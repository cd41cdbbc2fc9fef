"""Judging a bundle on cases it has never seen, as it will really be used.

Predictions come from the predictor itself, on the grid of each source image. What is kept of a
case is scores (``pipeline.evaluation.scores``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import StudyRejected
from pipeline.evaluation import matching, overlap
from pipeline.evaluation.scores import (
    Boxes,
    CaseScores,
    Classified,
    Labelled,
    Overlap,
    Scores,
)
from pipeline.models.predictor import Checkpoint, Predictor, TakesChannels
from pipeline.reasons import Reason
from pipeline.results import Classification, Detection, Prediction
from pipeline.training import data, objects, restoration
from pipeline.training.boxes import index_box
from pipeline.training.manifest import Case, changed
from pipeline.training.manifest.labels import classes_of
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Channels, Input


def judge(
    cases: Sequence[Case], recipe: Recipe, predictor: Predictor, *, checkpoint: Checkpoint
) -> Scores:
    """Predict held-out cases and compare them with what is true.

    Raises:
        StudyRejected: an image cannot be read any more, or is not what was hashed.
        Interrupted: by ``checkpoint``, called before and within each case.

    """
    patients = _patients(cases)
    judged = []
    for case in cases:
        checkpoint()
        if changed(case):
            sentence = "a held-out file was changed after it was hashed"
            raise StudyRejected(sentence, Reason.FILE_CHANGED)
        judged.append(
            CaseScores(
                case=case.digest,
                image=case.image_digest,
                patient=patients[case.patient_id],
                groups=dict(case.groups),
                **_judged(case, recipe, predictor, checkpoint),
            )
        )
    settings = recipe.evaluation
    return Scores(
        kind=recipe.judged_as,
        labels=recipe.judged_labels,
        surface_tolerance_mm=settings.surface_tolerance_mm,
        hit_iou=settings.hit_iou,
        least_patients=settings.least_patients,
        cases=tuple(judged),
    )


def _patients(cases: Sequence[Case]) -> Mapping[str, str]:
    """Return what stands for each patient: the digest of a case, which says nothing of his id."""
    found: dict[str, str] = {}
    for case in cases:
        found[case.patient_id] = min(case.digest, found.get(case.patient_id, case.digest))
    return found


def _judged(
    case: Case, recipe: Recipe, predictor: Predictor, checkpoint: Checkpoint
) -> dict[str, object]:
    """Return the field of ``CaseScores`` that belongs to the kind."""
    if recipe.kind == "restoration":
        restored = restoration.judge(case, recipe, predictor, checkpoint=checkpoint)
        return {"restored": restored}
    names = recipe.judged_labels
    if recipe.kind == "classification":
        whole = data.read_case(case, recipe)
        truth = data.read_truth(case, recipe, whole)
        return _whole(truth, answer(predictor, whole, checkpoint), names, recipe)
    image = data.read_image(case, recipe)
    truth = data.read_truth(case, recipe, image)
    prediction = predictor.predict(image, checkpoint=checkpoint)
    if recipe.kind == "segmentation":
        tolerance = recipe.evaluation.surface_tolerance_mm
        if recipe.tells_objects_apart:
            return {**objects.judged(truth, prediction, image, len(names), tolerance)}
        return {"overlaps": overlaps(truth, prediction, image, len(names), tolerance)}
    return {"boxes": tuple(boxes(truth, prediction, image, name) for name in names)}


def answer(predictor: Predictor, image: Input | Channels, checkpoint: Checkpoint) -> Prediction:
    """Return what a model says of a case, of several series where it takes them."""
    if not isinstance(image, Channels):
        return predictor.predict(image, checkpoint=checkpoint)
    if not isinstance(predictor, TakesChannels):
        message = "the model does not take several series"
        raise TypeError(message)
    return predictor.predict_channels(image, checkpoint=checkpoint)


def _whole(
    truth: Truth, prediction: Prediction, labels: Sequence[str], recipe: Recipe
) -> dict[str, object]:
    if recipe.takes_several_labels:
        return {"labelled": labelled(truth, prediction, labels)}
    return {"classified": classified(truth, prediction, labels)}


def labelled(truth: Truth, prediction: Prediction, labels: Sequence[str]) -> Labelled:
    """Return what is true of each label, and its score, 0 where it is not stated."""
    true = classes_of(str(truth.label))
    are_true = tuple(label in true for label in labels)
    return Labelled(truth=are_true, scores=_stated(prediction, labels))


def classified(truth: Truth, prediction: Prediction, labels: Sequence[str]) -> Classified:
    """Return the scores of the labels by their names, 0 where one is not stated."""
    if truth.label is None:
        message = "a classification is judged by a class"
        raise TypeError(message)
    return Classified(truth=labels.index(truth.label), scores=_stated(prediction, labels))


def _stated(prediction: Prediction, labels: Sequence[str]) -> tuple[float, ...]:
    stated = {
        finding.label: finding.score
        for finding in prediction.findings
        if isinstance(finding, Classification)
    }
    # sums of float32 may come out above 1 by their last bit
    return tuple(min(max(stated.get(label, 0.0), 0.0), 1.0) for label in labels)


def overlaps(
    truth: Truth, prediction: Prediction, image: Input, labels: int, tolerance_mm: float
) -> tuple[Overlap, ...]:
    """Compare the masks of labels 1 to ``labels``."""
    mask, label_map = truth.mask, prediction.label_map
    if mask is None or label_map is None:
        message = "a segmentation is judged by masks"
        raise TypeError(message)
    grid = overlap.grid_of(image)
    return tuple(
        overlap.compare(mask == number, label_map == number, grid, tolerance_mm)
        for number in range(1, labels + 1)
    )


def boxes(truth: Truth, prediction: Prediction, image: Input, label: str) -> Boxes:
    """Compare the boxes of one label, on the grid of the image."""
    truths = [index_box(box, image) for box in truth.boxes or () if box.label == label]
    findings = [
        finding
        for finding in prediction.findings
        if isinstance(finding, Detection) and finding.label == label
    ]
    return matching.compare(
        np.array([finding.index_box for finding in findings], float).reshape(-1, 6),
        np.array([finding.score for finding in findings], float),
        np.array(truths, float).reshape(-1, 6),
    )
