"""How far two models agree on one study: what was delivered, and what another one would have said.

Neither is the truth here. The numbers say where the two differ, not who is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from pipeline.answers import Answer
from pipeline.evaluation import matching
from pipeline.results import Classification, Detection, Measurement, Prediction, Segment

#: boxes of two models are the same finding where they overlap at least this much, by IoU
SAME_BOX: Final = 0.5


def agreement(delivered: Sequence[Answer], beside: Sequence[Answer]) -> dict[str, Any]:
    """Compare the answers of one step, input by input.

    Returns:
        JSON values: ``inputs`` that both answered for and ``only_one`` that one of them did;
        ``classes``, pairs of the top labels (delivered, beside); ``score_difference``, the
        largest; ``dice`` of the masks by label; ``boxes`` as counts of both, and of those that are
        the same; ``measurements``, differences by label; ``rms``, of derived images. What the
        kind does not have is empty or None.

    """
    others = {answer.position: answer.prediction for answer in beside}
    both = [
        (answer.prediction, others[answer.position])
        for answer in delivered
        if answer.position in others
    ]
    return {
        "inputs": len(both),
        "only_one": len(delivered) + len(beside) - 2 * len(both),
        "classes": [pair for one, other in both for pair in _classes(one, other)],
        "score_difference": _largest([_score_difference(*pair) for pair in both]),
        "dice": _means([_dice(*pair) for pair in both]),
        "boxes": _boxes(both),
        "measurements": _means([_measurements(*pair) for pair in both]),
        "rms": _largest([_rms(*pair) for pair in both]),
    }


def _classes(one: Prediction, other: Prediction) -> Iterator[list[str]]:
    tops = [
        next((f.label for f in said.findings if isinstance(f, Classification) and f.is_top), None)
        for said in (one, other)
    ]
    if tops[0] is not None and tops[1] is not None:
        yield [tops[0], tops[1]]


def _score_difference(one: Prediction, other: Prediction) -> float | None:
    scores = [
        {f.label: f.score for f in said.findings if isinstance(f, Classification)}
        for said in (one, other)
    ]
    shared = scores[0].keys() & scores[1].keys()
    return max((abs(scores[0][label] - scores[1][label]) for label in shared), default=None)


def _dice(one: Prediction, other: Prediction) -> dict[str, float]:
    """Return the overlap of the masks of each label that either of them found."""
    if one.label_map is None or other.label_map is None:
        return {}
    first, second = _numbers(one), _numbers(other)
    found = {}
    for label in dict.fromkeys([*first, *second]):
        mask = np.isin(one.label_map, first.get(label, ()))
        shadow = np.isin(other.label_map, second.get(label, ()))
        size = int(mask.sum()) + int(shadow.sum())
        found[label] = 2.0 * int((mask & shadow).sum()) / size if size else 1.0
    return found


def _numbers(said: Prediction) -> dict[str, list[int]]:
    """Return which numbers of its mask mean each label: two versions may count them otherwise."""
    found: dict[str, list[int]] = {}
    for finding in said.findings:
        if isinstance(finding, Segment):
            found.setdefault(finding.label, []).append(finding.number)
    return found


def _boxes(both: Sequence[tuple[Prediction, Prediction]]) -> dict[str, int] | None:
    counts = {"delivered": 0, "beside": 0, "same": 0}
    for one, other in both:
        found = [[f for f in said.findings if isinstance(f, Detection)] for said in (one, other)]
        counts["delivered"] += len(found[0])
        counts["beside"] += len(found[1])
        for label in {f.label for f in found[0]} & {f.label for f in found[1]}:
            counts["same"] += _same([[f for f in said if f.label == label] for said in found])
    return counts if counts["delivered"] or counts["beside"] else None


def _same(found: Sequence[Sequence[Detection]]) -> int:
    truths, boxes = (np.array([f.index_box for f in said], float).reshape(-1, 6) for said in found)
    scores = np.array([f.score for f in found[1]], float)
    return int(matching.hits(matching.compare(boxes, scores, truths), SAME_BOX).sum())


def _measurements(one: Prediction, other: Prediction) -> dict[str, float]:
    values = [
        {f.label: f.value for f in said.findings if isinstance(f, Measurement)}
        for said in (one, other)
    ]
    shared = sorted(values[0].keys() & values[1].keys())
    return {label: values[1][label] - values[0][label] for label in shared}


def _rms(one: Prediction, other: Prediction) -> float | None:
    """Return the root of the mean square of the difference of derived images of one name."""
    images = {image.name: image.values for image in other.derived}
    found = [
        float(np.sqrt(np.mean((image.values - images[image.name]) ** 2)))
        for image in one.derived
        if image.name in images and images[image.name].shape == image.values.shape
    ]
    return _largest(found)


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _means(each: Sequence[dict[str, float]]) -> dict[str, float]:
    labels = dict.fromkeys(label for one in each for label in one)
    return {label: float(np.mean([one[label] for one in each if label in one])) for label in labels}
