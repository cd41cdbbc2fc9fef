"""Boxes against boxes, by values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training import matching
from pipeline.training.matching import Matched


def test_boxes_overlap_as_worked_out_by_hand() -> None:
    first = np.array([[0, 0, 0, 2, 2, 2]], float)
    second = np.array([[1, 0, 0, 3, 2, 2], [5, 5, 5, 6, 6, 6], [0, 0, 0, 2, 2, 2]], float)
    overlap = matching.intersection_over_union(first, second)
    assert overlap[0] == pytest.approx([4 / 12, 0, 1])


def test_one_box_is_hit_once_by_the_more_certain() -> None:
    boxes = np.array([[0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2], [9, 9, 9, 11, 11, 11]], float)
    matched = matching.match(boxes, np.array([0.5, 0.9, 0.7]), boxes[:1])
    assert matched.scores.tolist() == [0.9, 0.7, 0.5]
    assert matched.is_hit.tolist() == [True, False, False]


def test_no_detection_and_no_box_are_both_possible() -> None:
    none = np.zeros((0, 6))
    assert matching.match(none, np.zeros(0), np.ones((1, 6))).truths == 1
    assert matching.match(np.ones((1, 6)), np.ones(1), none).is_hit.tolist() == [False]


def cases() -> list[Matched]:
    return [
        Matched(scores=np.array([0.9, 0.6]), is_hit=np.array([True, False]), truths=1),
        Matched(scores=np.array([0.8, 0.5]), is_hit=np.array([False, True]), truths=2),
    ]


def test_average_precision_by_hand() -> None:
    # best first: hit, alarm, alarm, hit of 3 boxes: 1/3 * 1 + 1/3 * 2/4
    assert matching.average_precision(cases()) == pytest.approx((1 + 0.5) / 3)


def test_froc_by_hand() -> None:
    reached = matching.froc(cases())
    assert reached is not None
    assert reached["0.25"] == pytest.approx(1 / 3)  # no alarm allowed in two scans
    assert reached["1"] == pytest.approx(2 / 3)  # two alarms allowed


def test_without_boxes_there_is_no_precision_and_no_sensitivity_curve() -> None:
    empty = [Matched(scores=np.array([0.9]), is_hit=np.array([False]), truths=0)]
    assert matching.average_precision(empty) is None
    assert matching.froc(empty) is None
