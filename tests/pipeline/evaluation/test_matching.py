"""Boxes against boxes, by values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation import matching
from pipeline.evaluation.scores import Boxes


def test_boxes_overlap_as_worked_out_by_hand() -> None:
    first = np.array([[0, 0, 0, 2, 2, 2]], float)
    second = np.array([[1, 0, 0, 3, 2, 2], [5, 5, 5, 6, 6, 6], [0, 0, 0, 2, 2, 2]], float)
    overlap = matching.intersection_over_union(first, second)
    assert overlap[0] == pytest.approx([4 / 12, 0, 1])


def test_one_box_is_hit_once_by_the_more_certain() -> None:
    boxes = np.array([[0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2], [9, 9, 9, 11, 11, 11]], float)
    kept = matching.compare(boxes, np.array([0.5, 0.9, 0.7]), boxes[:1])
    assert kept == Boxes(truths=1, scores=(0.9, 0.7, 0.5), overlaps=((1.0,), (0.0,), (1.0,)))
    assert matching.hits(kept, 0.1).tolist() == [True, False, False]


def test_each_detection_takes_the_free_box_it_overlaps_most() -> None:
    kept = Boxes(truths=2, scores=(0.9, 0.8, 0.7), overlaps=((0.6, 0.7), (0.5, 0.9), (0.4, 0.9)))
    assert matching.hits(kept, 0.5).tolist() == [True, True, False]
    assert matching.hits(kept, 0.55).tolist() == [True, False, False]


def test_an_overlap_of_just_what_is_asked_is_a_hit() -> None:
    assert matching.hits(Boxes(truths=1, scores=(0.9,), overlaps=((0.5,),)), 0.5).all()


def test_no_detection_and_no_box_are_both_possible() -> None:
    none = np.zeros((0, 6))
    missed = matching.compare(none, np.zeros(0), np.ones((1, 6)))
    assert missed == Boxes(truths=1)
    assert matching.hits(missed, 0.1).tolist() == []
    alarm = matching.compare(np.ones((1, 6)), np.ones(1), none)
    assert matching.hits(alarm, 0.1).tolist() == [False]
