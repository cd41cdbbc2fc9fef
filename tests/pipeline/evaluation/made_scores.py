"""Scores of made-up cases, by their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.scores import CaseScores, Classified, Scores


def digest(word: object) -> str:
    return hashlib.sha256(str(word).encode()).hexdigest()


def scores(
    kind: str,
    labels: Sequence[str],
    cases: Sequence[Mapping[str, Any]],
    *,
    patients: Sequence[object] | None = None,
    groups: Sequence[Mapping[str, str]] | None = None,
) -> Scores:
    """Return scores of cases of so many patients, each a patient of his own unless told."""
    made = [
        CaseScores(
            case=digest(f"case {number}"),
            image=digest(f"image {number}"),
            patient=digest(number if patients is None else patients[number]),
            groups={} if groups is None else dict(groups[number]),
            **fields,
        )
        for number, fields in enumerate(cases)
    ]
    document = {
        "kind": kind,
        "labels": tuple(labels),
        "surface_tolerance_mm": 2.0,
        "hit_iou": 0.1,
        "least_patients": 3,
        "cases": tuple(made),
    }
    return Scores.model_validate(document)


def classified(truth: Sequence[int], given: Sequence[Sequence[float]], **more: Any) -> Scores:
    """Return a classification of labels a, b, c ... with these true numbers and these scores."""
    cases = [
        {"classified": Classified(truth=number, scores=tuple(of_case))}
        for number, of_case in zip(truth, given, strict=True)
    ]
    return scores("classification", "abcdef"[: len(given[0])], cases, **more)


def binary(truth: Sequence[int], given: Sequence[float], **more: Any) -> Scores:
    """Return a classification of labels a and b; ``given`` is the score of b."""
    return classified(truth, [(1.0 - score, score) for score in given], **more)


def random_binary(count: int, *, seed: int, effect: float = 1.0) -> tuple[list[int], list[float]]:
    """Return truth and scores whose two classes lie ``effect`` standard deviations apart."""
    random = np.random.default_rng(seed)
    truth = random.integers(2, size=count)
    scores_of = 1.0 / (1.0 + np.exp(-random.normal(effect * (truth - 0.5))))
    return truth.tolist(), scores_of.tolist()
