"""How fast are the two operators of torchvision's detectors that we compute ourselves?

    python -m bench.detection_operators [--rounds 5] [--boxes 20000] [--regions 1000]

Suppression of 20 000 boxes, spread over an image and clustered round 200 objects, against one row
of overlaps for each box that stays; RoIAlign of 1 000 boxes on a map of 256 channels, forwards and
with gradients, against torchvision's definition gathered box after box. Both sides take turns, one
process, one thread, CPU seconds; the ratio is the median over the rounds. Both must agree.

Exits with 1 where suppression takes more than half a second, or an answer differs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.models.roi_align import roi_align
from pipeline.models.suppression import nms

MUST_SECONDS: Final = 0.5
_IMAGE: Final = (1333, 800)
_CHANNELS: Final = 256
_STRIDE: Final = 8
_BINS: Final = 7
_SAMPLES: Final = 2
#: of gradients, float32 against float32
_AGREE: Final = 1e-3


def main() -> int:
    """Measure, print a table, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--boxes", type=int, default=20_000)
    parser.add_argument("--regions", type=int, default=1_000)
    told = parser.parse_args()
    torch.set_num_threads(1)
    missed = [_suppress(kind, told.boxes, told.rounds) for kind in ("spread", "clustered")]
    missed += [_pool(told.regions, told.rounds, learns=learns) for learns in (False, True)]
    return int(any(missed))


def _suppress(kind: str, count: int, rounds: int) -> bool:
    boxes = some_boxes(count if kind == "spread" else 200)
    random = np.random.default_rng(1)
    if kind == "clustered":
        boxes = boxes[random.integers(len(boxes), size=count)]
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = (boxes + sides * random.normal(0, 0.1, boxes.shape)).astype(np.float32)
    tensors = torch.from_numpy(boxes), torch.from_numpy(random.random(count, np.float32))
    ours, theirs, ratio, answers = _take_turns(
        lambda: nms(*tensors, 0.5), lambda: by_rows(*tensors, 0.5), rounds
    )
    is_same = answers[0].tolist() == answers[1].tolist()
    is_late = ours > MUST_SECONDS
    _say(
        f"suppression of {count} boxes, {kind}: {ours:.3f} s, by rows {theirs:.3f} s, "
        f"ratio {ratio:.1f}, {len(answers[0])} stay, {'same' if is_same else 'OTHER'} answer"
        f"{f', must be under {MUST_SECONDS} s' if is_late else ''}"
    )
    return is_late or not is_same


def _pool(count: int, rounds: int, *, learns: bool) -> bool:
    boxes = torch.from_numpy(some_boxes(count))
    # a map begun is a map: no sample lies more than a pixel outside
    size = (1, _CHANNELS, -(-_IMAGE[1] // _STRIDE), -(-_IMAGE[0] // _STRIDE))
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(size, generator=generator).requires_grad_(learns)
    rois = torch.cat([torch.zeros(count, 1), boxes], dim=1)

    def answer(pool: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        pooled = pool(features, rois)
        return torch.autograd.grad(pooled.sum(), features)[0] if learns else pooled

    ours, theirs, ratio, answers = _take_turns(
        lambda: answer(one_call), lambda: answer(box_by_box), rounds
    )
    difference = float((answers[0] - answers[1]).abs().max())
    what = "with gradients" if learns else "forwards"
    _say(
        f"RoIAlign of {count} boxes, {_CHANNELS} channels, {what}: {ours:.3f} s, box after box "
        f"{theirs:.3f} s, ratio {ratio:.1f}, largest difference {difference:.1e}"
    )
    return difference > _AGREE


def _take_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int
) -> tuple[float, float, float, tuple[Any, Any]]:
    """Return the median seconds of both, the median ratio, and the last answers."""
    pairs = []
    answers = (ours(), theirs())
    for _ in range(rounds):
        seconds = []
        for side in (ours, theirs):
            began = time.process_time()
            side()
            seconds.append(time.process_time() - began)
        pairs.append(seconds)
    mine, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    return mine, other, statistics.median(pair[1] / pair[0] for pair in pairs), answers


def some_boxes(count: int) -> NDArray[np.float32]:
    """Return boxes (count, 4) of 16 to 256 pixels, spread over an image."""
    random = np.random.default_rng(0)
    sides = np.exp(random.uniform(np.log(16), np.log(256), (count, 2)))
    centres = random.random((count, 2)) * _IMAGE
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    return np.clip(boxes, 0, np.tile(_IMAGE, 2)).astype(np.float32)


def by_rows(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppress by one row of overlaps for each box that stays."""
    x0, y0, x1, y1 = boxes.numpy().T
    areas = (x1 - x0) * (y1 - y0)
    waiting, stay = np.argsort(-scores.numpy(), kind="stable"), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        stay.append(best)
        width = np.minimum(x1[best], x1[waiting]) - np.maximum(x0[best], x0[waiting])
        height = np.minimum(y1[best], y1[waiting]) - np.maximum(y0[best], y0[waiting])
        shared = width.clip(0) * height.clip(0)
        overlap = shared / (areas[best] + areas[waiting] - shared)
        waiting = waiting[overlap <= np.float64(threshold)]
    return torch.tensor(np.asarray(stay))


def one_call(features: Tensor, rois: Tensor) -> Tensor:
    """Pool all boxes by ours."""
    return roi_align(features, rois, 1 / _STRIDE, _BINS, _BINS, _SAMPLES, False)  # noqa: FBT003


def box_by_box(features: Tensor, rois: Tensor) -> Tensor:
    """Pool one box after the other: its samples between four pixels each, and their means."""
    height, width = features.shape[2:]
    steps = (torch.arange(_BINS * _SAMPLES) + 0.5) / _SAMPLES
    pooled = []
    for x0, y0, x1, y1 in (rois[:, 1:] / _STRIDE).tolist():
        x = x0 + steps * max(x1 - x0, 1.0) / _BINS
        y = y0 + steps * max(y1 - y0, 1.0) / _BINS
        grid = torch.stack(
            torch.meshgrid(2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1, indexing="xy"), dim=2
        )
        samples = functional.grid_sample(
            features, grid[None], padding_mode="border", align_corners=True
        )
        pooled.append(functional.avg_pool2d(samples, _SAMPLES))
    return torch.cat(pooled)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
