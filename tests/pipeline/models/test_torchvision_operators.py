"""torchvision imports beside any torch, and its non-maximum suppression is the greedy one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.models.torchvision_operators import nms


def by_hand(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Return what stays, one box after the other."""
    stay: list[int] = []
    for place in sorted(range(len(boxes)), key=lambda place: (-float(scores[place]), place)):
        if all(iou(boxes[place], boxes[other]) <= threshold for other in stay):
            stay.append(place)
    return stay


def iou(one: Tensor, other: Tensor) -> float:
    low, high = torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])
    shared = float((high - low).clamp(min=0).prod())
    areas = [float((box[2:] - box[:2]).prod()) for box in (one, other)]
    return shared / (sum(areas) - shared)


def some_boxes(count: int, *, spread: float = 40.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand((count, 2), generator=generator) * spread
    sizes = 1 + torch.rand((count, 2), generator=generator) * 20
    return torch.cat([corners, corners + sizes], 1), torch.rand(count, generator=generator)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_of_boxes_that_overlap_the_better_one_stays(threshold: float) -> None:
    boxes, scores = some_boxes(120)
    assert nms(boxes, scores, threshold).tolist() == by_hand(boxes, scores, threshold)


def test_blocks_of_boxes_are_compared_with_all_that_follow() -> None:
    boxes, scores = some_boxes(2600, spread=200.0)
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []
    kept = nms(boxes, scores, 0.1)
    assert kept.tolist() == one_by_one(boxes, scores, 0.1)
    assert 100 < len(kept) < 1000


def one_by_one(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Return what stays, by one row of overlaps for each box that does."""
    x0, y0, x1, y1 = boxes.double().numpy().T
    areas = (x1 - x0) * (y1 - y0)
    waiting, stay = np.argsort(-scores.numpy(), kind="stable"), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        stay.append(int(best))
        width = np.minimum(x1[best], x1[waiting]) - np.maximum(x0[best], x0[waiting])
        height = np.minimum(y1[best], y1[waiting]) - np.maximum(y0[best], y0[waiting])
        shared = width.clip(0) * height.clip(0)
        waiting = waiting[shared / (areas[best] + areas[waiting] - shared) <= threshold]
    return stay


def test_of_equal_boxes_and_scores_the_first_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4]] * 3 + [[9.0, 9, 12, 12]])
    assert nms(boxes, torch.ones(4), 0.5).tolist() == [0, 3]


def test_boxes_without_area_suppress_nothing() -> None:
    boxes = torch.tensor([[1.0, 1, 1, 1], [1.0, 1, 1, 1]])
    assert nms(boxes, torch.tensor([0.5, 0.6]), 0.5).tolist() == [1, 0]


def test_torchvision_imports_and_suppresses_after_any_of_our_models_was_named() -> None:
    script = (
        "import pipeline.models, torch, torchvision\n"
        "from torchvision.ops import batched_nms, nms\n"
        "boxes = torch.tensor([[0., 0, 4, 4], [0, 0, 4, 5], [8, 8, 9, 9]])\n"
        "scores = torch.tensor([0.5, 0.9, 0.1])\n"
        "assert nms(boxes, scores, 0.5).tolist() == [1, 2]\n"
        "assert batched_nms(boxes, scores, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 0, 2]\n"
        "net = torchvision.models.resnet18(weights=None).eval()\n"
        "assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
