"""Non-maximum suppression is the greedy one to the last box, whatever the boxes are."""

from __future__ import annotations

import math
import time
import tracemalloc
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models import suppression
from pipeline.models.suppression import nms

Box: TypeAlias = NDArray[np.floating[Any]]


def one_after_the_other(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Return what stays, by the definition: each box against each better one that stayed."""
    rows = list(boxes.numpy() if boxes.dtype == torch.float64 else boxes.float().numpy())
    stay: list[int] = []
    with np.errstate(all="ignore"):
        for place in scores.argsort(descending=True, stable=True).tolist():
            if not any(above(rows[better], rows[place], threshold) for better in stay):
                stay.append(place)
    return stay


def above(one: Box, other: Box, threshold: float) -> bool:
    """Compare as torchvision's compiled operator does, in the type of the boxes."""
    nothing = one.dtype.type(0)
    width = larger(nothing, smaller(one[2], other[2]) - larger(one[0], other[0]))
    height = larger(nothing, smaller(one[3], other[3]) - larger(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    shared = width * height
    return bool(float(shared / (areas[0] + areas[1] - shared)) > threshold)


def larger(one: np.floating[Any], other: np.floating[Any]) -> np.floating[Any]:
    """``std::max``: the first of NaN and anything."""
    return max(one, other)


def smaller(one: np.floating[Any], other: np.floating[Any]) -> np.floating[Any]:
    return min(one, other)


#: few whole numbers, so that boxes tie; and all others, infinite and none
EDGE = st.one_of(st.integers(0, 6).map(float), st.floats(width=32), st.floats(0, 1, width=32))
BOX = st.tuples(EDGE, EDGE, EDGE, EDGE)
SCORE = st.one_of(st.integers(0, 3).map(float), st.floats(width=32))
KINDS = (torch.float32, torch.float64)
THRESHOLD = st.one_of(st.sampled_from([0.0, 1 / 3, 0.5, 1.0]), st.floats(0, 1))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(BOX, SCORE), max_size=16), THRESHOLD, st.sampled_from(KINDS))
def test_any_boxes_at_all_are_suppressed_by_the_definition(
    wild: list[tuple[tuple[float, ...], float]], threshold: float, kind: torch.dtype
) -> None:
    boxes = torch.tensor([box for box, _ in wild], dtype=kind).reshape(-1, 4)
    scores = torch.tensor([score for _, score in wild])
    assert nms(boxes, scores, threshold).tolist() == one_after_the_other(boxes, scores, threshold)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), THRESHOLD, st.sampled_from([0.0, 1e7]))
def test_blocks_and_parts_change_nothing(seed: int, threshold: float, far: float) -> None:
    boxes, scores = some_boxes(60, seed=seed)
    boxes = boxes + far  # there floats are whole numbers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "_BLOCK", 7)
        patch.setattr(suppression, "_PAIRS", 5)
        found = nms(boxes, scores, threshold).tolist()
    assert found == one_after_the_other(boxes, scores, threshold)


def some_boxes(count: int, *, spread: float = 40.0, seed: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand((count, 2), generator=generator) * spread
    sizes = 1 + torch.rand((count, 2), generator=generator) * 20
    return torch.cat([corners, corners + sizes], 1), torch.rand(count, generator=generator)


def test_thousands_of_boxes_are_suppressed_by_the_definition() -> None:
    boxes, scores = some_boxes(5000, spread=400.0)
    kept = nms(boxes, scores, 0.1)
    assert kept.tolist() == by_rows(boxes, scores, 0.1)
    assert 300 < len(kept) < 2000


def by_rows(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Return what stays, by one row of overlaps for each box that does."""
    x0, y0, x1, y1 = boxes.numpy().T
    areas = (x1 - x0) * (y1 - y0)
    waiting, stay = np.argsort(-scores.numpy(), kind="stable"), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        stay.append(int(best))
        width = np.minimum(x1[best], x1[waiting]) - np.maximum(x0[best], x0[waiting])
        height = np.minimum(y1[best], y1[waiting]) - np.maximum(y0[best], y0[waiting])
        shared = width.clip(0) * height.clip(0)
        ratio = shared / (areas[best] + areas[waiting] - shared)
        waiting = waiting[ratio <= np.float64(threshold)]
    return stay


def test_of_equal_boxes_and_scores_the_first_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4]] * 3 + [[9.0, 9, 12, 12]])
    assert nms(boxes, torch.ones(4), 0.5).tolist() == [0, 3]


def test_an_overlap_as_large_as_the_threshold_suppresses_nothing() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 4, 2]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.499).tolist() == [0]


def test_a_threshold_is_not_rounded_to_the_type_of_the_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 3, 1], [0.0, 0, 1, 1]])
    # a third in float32 is more than a third in float64
    assert nms(boxes, torch.tensor([0.9, 0.8]), 1 / 3).tolist() == [0]
    assert nms(boxes.double(), torch.tensor([0.9, 0.8]), 1 / 3).tolist() == [0, 1]


def test_boxes_too_small_for_their_area_are_compared_as_their_areas_round() -> None:
    # each area, and what they share, rounds to the smallest float: an overlap of 1, not of 1/3
    boxes = torch.tensor([[0.0, 0, 4, 4], [2.0, 0, 6, 4]]) * 1e-23
    scores = torch.tensor([0.9, 0.8])
    assert one_after_the_other(boxes, scores, 0.6) == [0]
    assert nms(boxes, scores, 0.6).tolist() == [0]


def test_boxes_far_away_are_not_taken_apart_by_rounding() -> None:
    # floats are whole numbers there, and two thirds of 10 would be 7: more than what is shared
    boxes = torch.tensor([[0.0, 0, 10, 10], [3.0, 0, 10, 10]]) + 1e7
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.66).tolist() == [0]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1.0])
def test_boxes_without_a_proper_area_suppress_nothing(odd: float) -> None:
    boxes = torch.tensor([[1.0, 1, odd, 2], [1.0, 1, odd, 2]])
    assert nms(boxes, torch.tensor([0.5, 0.6]), 0.5).tolist() == [1, 0]


def test_no_boxes_are_no_boxes() -> None:
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_a_threshold_that_is_none_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="not negative"):
        nms(torch.zeros(1, 4), torch.zeros(1), threshold)


def test_boxes_that_all_overlap_take_no_quadratic_memory() -> None:
    # nothing is suppressed: every pair has to be looked at
    count = 2500
    boxes = torch.tensor([[0.0, 0, 1, 1]]) + torch.rand(count, 4) * torch.tensor([0, 0, 9, 9])
    tracemalloc.start()
    kept = nms(boxes, torch.rand(count), 1.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == count
    assert peak < count * count


def test_spread_boxes_take_time_as_they_are_many() -> None:
    boxes, scores = some_boxes(8000, spread=3000.0)
    began = time.perf_counter()
    assert len(nms(boxes, scores, 0.5)) > 7000
    # by every pair it takes seconds
    assert time.perf_counter() - began < 1.5
