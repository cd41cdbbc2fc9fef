"""Evaluation: how good a bundle is on cases it has never seen, as it will really be used.

Predictions come from the predictor itself, on the grid of each source image. Intervals are 95 %
percentile bootstraps over patients: cases of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.results import Classification, Detection, Prediction
from pipeline.training import matching
from pipeline.training.fidelity import Fidelity
from pipeline.training.matching import Matched
from pipeline.training.reading import Box, Truth
from pipeline.volume import Input, Volume

RESAMPLES = 1000

Statistic = Callable[[Sequence["Judged"]], float]


@dataclass(frozen=True)
class Overlap:
    """One label of one segmentation: Dice where the reference is not empty, else false alarm."""

    dice: float | None
    false_alarm: float
    #: of the false alarm: of volumes "ml", of single images "pixels"
    unit: str


@dataclass(frozen=True)
class Restored:
    """How near the answer came to the reference, and what was shown, brought to its grid."""

    answer: Fidelity
    baseline: Fidelity


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is kept of one held-out case: numbers, no pixels. One field is set, by the kind."""

    patient_id: str
    #: number of the true label, and a score for each
    classified: tuple[int, tuple[float, ...]] | None = None
    #: for each label
    overlaps: tuple[Overlap, ...] = ()
    #: for each label
    matches: tuple[Matched, ...] = ()
    restored: Restored | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one held-out case."""

    patient_id: str
    image: Input
    truth: Truth
    prediction: Prediction


def judge(labels: Sequence[str], outcome: Outcome) -> Judged:
    """Compare a prediction with the truth, by the kind of truth there is."""
    truth = outcome.truth
    if truth.label is not None:
        scores = _scores(outcome.prediction, labels)
        return Judged(patient_id=outcome.patient_id, classified=(labels.index(truth.label), scores))
    if truth.mask is not None:
        overlaps = tuple(_overlap(outcome, number) for number in range(1, len(labels) + 1))
        return Judged(patient_id=outcome.patient_id, overlaps=overlaps)
    matches = tuple(_match_case(outcome, label) for label in labels)
    return Judged(patient_id=outcome.patient_id, matches=matches)


def evaluate(kind: str, labels: Sequence[str], cases: Sequence[Judged]) -> dict[str, Any]:
    """Return the metrics of a kind as plain JSON values; a metric that has no value is None."""
    by_kind = {
        "classification": _classification,
        "segmentation": _segmentation,
        "detection": _detection,
        "restoration": _restoration,
    }
    patients = len({case.patient_id for case in cases})
    return {"cases": len(cases), "patients": patients, **by_kind[kind](labels, cases)}


def _classification(labels: Sequence[str], cases: Sequence[Judged]) -> dict[str, Any]:
    answers = [case.classified for case in cases if case.classified is not None]
    truth = np.array([number for number, _ in answers])
    scores = np.array([given for _, given in answers])
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth, scores.argmax(axis=1)), 1)

    def accuracy(sample: Sequence[Judged]) -> float:
        rights = [case.classified for case in sample if case.classified is not None]
        return float(np.mean([int(np.argmax(given)) == number for number, given in rights]))

    return {
        "accuracy": _with_interval(accuracy, cases),
        "auc": {
            label: area_under_curve(scores[:, number], truth == number)
            for number, label in enumerate(labels)
        },
        # rows are the truth, columns the answer, in the order of the labels
        "confusion": confusion.tolist(),
        "labels": list(labels),
    }


def _scores(prediction: Prediction, labels: Sequence[str]) -> tuple[float, ...]:
    stated = {
        finding.label: finding.score
        for finding in prediction.findings
        if isinstance(finding, Classification)
    }
    return tuple(stated.get(label, 0.0) for label in labels)


def area_under_curve(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float | None:
    """Return the area under the ROC curve: the share of pairs in the right order, ties by half."""
    positive, negative = scores[is_positive], scores[~is_positive]
    if not len(positive) or not len(negative):
        return None
    above = np.count_nonzero(positive[:, None] > negative[None, :])
    equal = np.count_nonzero(positive[:, None] == negative[None, :])
    return float((above + 0.5 * equal) / (len(positive) * len(negative)))


def _segmentation(labels: Sequence[str], cases: Sequence[Judged]) -> dict[str, Any]:
    found: dict[str, Any] = {"dice": {}, "empty_reference": {}}
    for number, label in enumerate(labels):

        def dice_of(case: Judged, number: int = number) -> float | None:
            return case.overlaps[number].dice

        def mean(
            sample: Sequence[Judged], dice_of: Callable[[Judged], float | None] = dice_of
        ) -> float:
            return float(np.mean([dice_of(case) for case in sample]))

        judged = [case for case in cases if dice_of(case) is not None]
        alarms = [case.overlaps[number] for case in cases if dice_of(case) is None]
        found["dice"][label] = {**_with_interval(mean, judged), "cases": len(judged)}
        # Dice has no value where the reference is empty; a false alarm there must still be seen
        unit = cases[0].overlaps[number].unit
        sizes = [alarm.false_alarm for alarm in alarms]
        found["empty_reference"][label] = {
            "cases": len(alarms),
            "cases_with_false_alarm": sum(1 for size in sizes if size > 0),
            f"mean_false_alarm_{unit}": float(np.mean(sizes)) if sizes else None,
        }
    return found


def _overlap(outcome: Outcome, number: int) -> Overlap:
    mask, label_map, image = outcome.truth.mask, outcome.prediction.label_map, outcome.image
    if mask is None or label_map is None:
        message = "a segmentation is judged by masks"
        raise TypeError(message)
    unit, size = ("ml", image.voxel_volume_ml) if isinstance(image, Volume) else ("pixels", 1.0)
    is_true, is_found = mask == number, label_map == number
    if is_true.any():
        return Overlap(dice=dice(is_true, is_found), false_alarm=0.0, unit=unit)
    return Overlap(dice=None, false_alarm=int(np.count_nonzero(is_found)) * size, unit=unit)


def dice(is_true: NDArray[np.bool_], is_found: NDArray[np.bool_]) -> float:
    """Return 2 |A and B| / (|A| + |B|); at least one of the two is not empty."""
    both = int(np.count_nonzero(is_true & is_found))
    return 2.0 * both / (int(np.count_nonzero(is_true)) + int(np.count_nonzero(is_found)))


def _detection(labels: Sequence[str], cases: Sequence[Judged]) -> dict[str, Any]:
    found: dict[str, Any] = {"hit_iou": matching.HIT_IOU, "labels": {}}
    for number, label in enumerate(labels):

        def sensitivity(sample: Sequence[Judged], number: int = number) -> float:
            matched = [case.matches[number] for case in sample]
            hits = sum(np.count_nonzero(one.is_hit) for one in matched)
            return float(hits / max(sum(one.truths for one in matched), 1))

        every = [case.matches[number] for case in cases]
        alarms = sum(np.count_nonzero(~one.is_hit) for one in every)
        found["labels"][label] = {
            "boxes": sum(one.truths for one in every),
            "sensitivity": _with_interval(sensitivity, cases),
            "false_positives_per_scan": float(alarms / max(len(every), 1)),
            "average_precision": matching.average_precision(every),
            "froc": matching.froc(every),
        }
    return found


def _match_case(outcome: Outcome, label: str) -> Matched:
    truths = [
        index_box(box, outcome.image) for box in outcome.truth.boxes or () if box.label == label
    ]
    findings = [
        finding
        for finding in outcome.prediction.findings
        if isinstance(finding, Detection) and finding.label == label
    ]
    return matching.match(
        np.array([finding.index_box for finding in findings], float).reshape(-1, 6),
        np.array([finding.score for finding in findings], float),
        np.array(truths, float).reshape(-1, 6),
    )


def index_box(box: Box, image: Input) -> NDArray[np.float64]:
    """Return (s0, r0, c0, s1, r1, c1): first and one past the last voxel, as results state it."""
    if not isinstance(image, Volume):
        message = "boxes in mm need a volume"
        raise TypeError(message)
    place = np.linalg.solve(image.affine, [*box.centre, 1.0])[:3] + 0.5
    half = np.asarray(box.size) / np.asarray(image.spacing) / 2.0
    return np.concatenate([place - half, place + half])


def _restoration(labels: Sequence[str], cases: Sequence[Judged]) -> dict[str, Any]:
    """Set the answers beside what anybody can do: leave the image, or interpolate linearly."""
    del labels
    every = [case.restored for case in cases if case.restored is not None]

    def psnr(sample: Sequence[Judged]) -> float:
        return float(np.mean([case.restored.answer.psnr for case in sample if case.restored]))

    def ssim(sample: Sequence[Judged]) -> float:
        return float(np.mean([case.restored.answer.ssim for case in sample if case.restored]))

    return {
        "psnr_db": _with_interval(psnr, cases),
        "ssim": _with_interval(ssim, cases),
        "without_model": {
            "psnr_db": float(np.mean([one.baseline.psnr for one in every])),
            "ssim": float(np.mean([one.baseline.ssim for one in every])),
        },
        "cases_with_higher_psnr": sum(one.answer.psnr > one.baseline.psnr for one in every),
        "cases_with_higher_ssim": sum(one.answer.ssim > one.baseline.ssim for one in every),
    }


def _with_interval(statistic: Statistic, cases: Sequence[Judged]) -> dict[str, Any]:
    """Return a value with its interval, resampling patients; the seed is fixed."""
    if not cases:
        return {"value": None, "low": None, "high": None}
    by_patient: dict[str, list[Judged]] = {}
    for case in cases:
        by_patient.setdefault(case.patient_id, []).append(case)
    groups = list(by_patient.values())
    random = np.random.default_rng(0)
    values = []
    for _ in range(RESAMPLES):
        chosen = random.integers(len(groups), size=len(groups))
        values.append(statistic([one for number in chosen for one in groups[number]]))
    low, high = np.percentile(values, [2.5, 97.5])
    return {"value": statistic(cases), "low": float(low), "high": float(high)}
