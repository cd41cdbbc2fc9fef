"""What is said of a model: every statistic with its interval, for all cases and for subgroups.

Plain JSON values: they stand in the bundle, in the records and on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import (
    bootstrap,
    classification,
    curves,
    detection,
    labelling,
    matching,
    restoration,
    robustness,
    segmentation,
)
from pipeline.evaluation.scores import CaseScores, Scores, ScoresRefused
from pipeline.evaluation.statistic import Statistic, value_of

#: stands for cases whose manifest says nothing of an attribute
NOT_STATED: Final = "not stated"
#: what ``worst`` goes by, in words
WORST_BY: Final[Mapping[str, str]] = {
    "classification": "score of the true label",
    "multi-label": "mean score of what is true of each label",
    "segmentation": "mean Dice of the labels that are there",
    "detection": "share of the boxes that were hit",
    "restoration": "PSNR (dB)",
}
_STATISTICS: Final[Mapping[str, Callable[[Scores], Iterator[Statistic]]]] = {
    "classification": classification.statistics,
    "multi-label": labelling.statistics,
    "segmentation": segmentation.statistics,
    "detection": detection.statistics,
    "restoration": restoration.statistics,
}


def statistics(scores: Scores) -> list[Statistic]:
    """Return every statistic of the kind, in the order they are told in."""
    return [*_STATISTICS[scores.kind](scores), *robustness.statistics(scores)]


def named(scores: Scores, name: str, label: str | None) -> Statistic:
    """Return one statistic.

    Raises:
        ScoresRefused: the kind has none of that name and label.

    """
    for one in statistics(scores):
        if (one.name, one.label) == (name, label):
            return one
    raise ScoresRefused(f"a {scores.kind} is not judged by {name}")


def summarise(scores: Scores) -> dict[str, Any]:
    """Return the statistics of all cases and of each label, and the tables of the kind.

    Each statistic is ``{"value", "low", "high", "patients"}``, where ``patients`` are those that
    bear on it; what has no value is None.
    """
    return {**_measured(scores, least_patients=0), **_tables(scores)}


def by_subgroup(scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    """Return attribute -> group -> statistics, for each attribute that any case states.

    A statistic that too few patients of the group bear on is ``{"patients", "is_too_few"}``.
    """
    return {
        attribute: {
            group: _measured(scores.of_cases(chosen), least_patients=scores.least_patients)
            for group, chosen in places.items()
        }
        for attribute, places in groups(scores).items()
    }


def groups(scores: Scores) -> dict[str, dict[str, list[int]]]:
    """Return attribute -> group -> places of its cases, for what any case states."""
    stated = sorted({name for case in scores.cases for name in case.groups})
    return {attribute: _places(scores, attribute) for attribute in stated}


def _places(scores: Scores, attribute: str) -> dict[str, list[int]]:
    """Return the places of the cases of each group."""
    groups: dict[str, list[int]] = {}
    for place, case in enumerate(scores.cases):
        groups.setdefault(case.groups.get(attribute, NOT_STATED), []).append(place)
    return dict(sorted(groups.items()))


def _measured(scores: Scores, *, least_patients: int) -> dict[str, Any]:
    """Return counts and statistics of these cases, resampled by their own patients."""
    patients = np.array(scores.patients, str)
    found: dict[str, Any] = {"cases": len(patients), "patients": len(np.unique(patients))}
    if not len(patients):
        return found
    weights = bootstrap.resamples(scores.patients)
    by_label: dict[str, dict[str, Any]] = {label: {} for label in scores.labels}
    for statistic in statistics(scores):
        place = found if statistic.label is None else by_label[statistic.label]
        bearing = len(np.unique(patients[statistic.bearing]))
        if bearing < least_patients:
            place[statistic.name] = {"patients": bearing, "is_too_few": True}
        else:
            place[statistic.name] = _stated(statistic, weights, bearing)
    return found | ({"labels": by_label} if by_label else {})


def _stated(statistic: Statistic, weights: NDArray[np.float64], patients: int) -> dict[str, Any]:
    value = value_of(statistic)
    between = None if value is None else bootstrap.interval(statistic.of(weights), patients)
    return {
        "value": value,
        "low": None if between is None else between.low,
        "high": None if between is None else between.high,
        "patients": patients,
    }


def _tables(scores: Scores) -> dict[str, Any]:
    """Return what is more than one number, by the kind."""
    if not scores.cases:
        return {}
    match scores.kind:
        case "classification":
            return {
                # rows are the truth, columns the answer, in the order of the labels
                "confusion": classification.confusion(scores).tolist(),
                "reliability": curves.reliability(scores),
            }
        case "multi-label":
            return {}
        case "segmentation":
            return {"surface_tolerance_mm": scores.surface_tolerance_mm}
        case "detection":
            return {"hit_iou": scores.hit_iou, "froc": _froc(scores)}
        case "restoration":
            return {"without_model": _without_model(scores)}


def _froc(scores: Scores) -> dict[str, Any]:
    return {
        label: detection.froc([case.boxes[number] for case in scores.cases], scores.hit_iou)
        for number, label in enumerate(scores.labels)
    }


def _without_model(scores: Scores) -> dict[str, float]:
    every = [case.restored.baseline for case in scores.cases if case.restored is not None]
    return {
        "psnr_db": float(np.mean([one.psnr for one in every])),
        "ssim": float(np.mean([one.ssim for one in every])),
    }


def worst(scores: Scores, count: int = 10) -> Sequence[tuple[int, float]]:
    """Return the places of the worst cases and how well each did, the worst first.

    By what ``WORST_BY`` says. A case that has no such number is left out.
    """
    known = [(place, value) for place, value in enumerate(goodness(scores)) if value is not None]
    return sorted(known, key=lambda one: one[1])[:count]


def goodness(scores: Scores) -> list[float | None]:
    """Return how well each case did, by what ``WORST_BY`` says; None where nothing says it."""
    return [_goodness(case, scores.hit_iou) for case in scores.cases]


def _goodness(case: CaseScores, hit_iou: float) -> float | None:
    if case.classified is not None:
        return case.classified.scores[case.classified.truth]
    if case.labelled is not None:
        given, truth = np.array(case.labelled.scores), np.array(case.labelled.truth)
        return float(np.where(truth, given, 1.0 - given).mean())
    if case.restored is not None:
        return case.restored.answer.psnr
    dices = [one.dice for one in case.overlaps if one.dice is not None]
    if dices:
        return float(np.mean(dices))
    truths = sum(boxes.truths for boxes in case.boxes)
    hit = sum(int(matching.hits(boxes, hit_iou).sum()) for boxes in case.boxes)
    return hit / truths if truths else None
