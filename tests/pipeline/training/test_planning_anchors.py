"""Anchors that follow from boxes: as few as fit, and doubled by the levels."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training import planning_anchors


def even(count: int) -> np.ndarray:
    return np.full(count, 1 / count)


def test_boxes_of_one_size_get_that_size() -> None:
    sizes = np.full((20, 3), (4.0, 9.0, 10.0))
    assert planning_anchors.fit(sizes, even(20), 2) == [[4, 9, 10]]


def test_boxes_of_two_sizes_get_both() -> None:
    sizes = np.repeat([[10.0, 12.0], [40.0, 30.0]], 10, axis=0)
    assert planning_anchors.fit(sizes, even(20), 1) == [[10, 12], [40, 30]]


def test_what_a_level_doubles_needs_no_anchor_of_its_own() -> None:
    sizes = np.repeat([[10.0, 12.0], [20.0, 24.0], [40.0, 48.0]], 10, axis=0)
    assert planning_anchors.fit(sizes, even(30), 3) == [[10, 12]]
    assert len(planning_anchors.fit(sizes, even(30), 1)) == 3


def test_few_boxes_that_weigh_as_much_get_an_anchor_too() -> None:
    sizes = np.concatenate([np.full((99, 2), 40.0), np.full((1, 2), 10.0)])
    assert len(planning_anchors.fit(sizes, even(100), 1)) == 1
    weights = np.array([0.5 / 99] * 99 + [0.5])
    assert planning_anchors.fit(sizes, weights, 1) == [[10, 10], [40, 40]]


@pytest.mark.parametrize("axes", [2, 3])
def test_most_of_many_boxes_overlap_an_anchor_well(axes: int) -> None:
    random = np.random.default_rng(0)
    sizes = 2.0 ** (random.uniform(3, 5, (400, 1)) + random.normal(0, 0.15, (400, axes)))
    anchors = planning_anchors.fit(sizes, even(400), 2)
    assert len(anchors) <= 4
    found = planning_anchors.overlaps(sizes, np.asarray(anchors, float), 2)
    assert np.mean(found >= 2 ** (-axes / 3)) >= 0.9


def test_overlaps_are_those_of_boxes_on_one_centre() -> None:
    sizes = np.array([[10.0, 10.0], [20.0, 10.0], [5.0, 10.0]])
    found = planning_anchors.overlaps(sizes, np.array([[10.0, 10.0]]), 1)
    assert found == pytest.approx([1, 0.5, 0.5])
    doubled = planning_anchors.overlaps(sizes, np.array([[10.0, 10.0]]), 2)
    assert doubled == pytest.approx([1, 0.5, 0.5])
    assert planning_anchors.overlaps(2 * sizes, np.array([[10.0, 10.0]]), 2)[0] == 1


def test_anchors_are_at_least_a_voxel() -> None:
    assert planning_anchors.fit(np.full((4, 3), (0.3, 5.0, 5.0)), even(4), 2) == [[1, 5, 5]]
