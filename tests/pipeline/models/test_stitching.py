"""Sums in blocks: the same logits however the grid is cut, and less memory where it is."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models import grids, labels, sliding, stitching
from pipeline.models.devices import Device
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.stitching import Blocks, Box, Sweep
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

CPU = torch.device("cpu")
SHAPE = (31, 20, 26)
PLAN = sliding.Plan(size=(12, 10, 12), overlap=0.4, batch=2, device=CPU)
WINDOWS = sliding.lay(SHAPE, PLAN.size, PLAN.overlap)


class Mixed(nn.Module):
    """A convolution with so many outputs."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.second = nn.Conv3d(4, outputs, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.second(self.first(image - 0.4).relu() - 0.1)
        return answer


def lay(bound: int | None, axes: tuple[int, ...], outputs: int = 3) -> stitching.Laid:
    """Return how the windows of that image are run."""
    windows = stitching.in_order(WINDOWS, axes)
    sweep = Sweep(axes=axes, room=0, bound=bound, finish=lambda *_: None)
    return stitching.lay_within(SHAPE, windows, sweep, outputs)


def held(blocks: Blocks) -> int:
    """Return how many voxels lie in sums, and in planes that wait for the blocks behind them."""
    planes = [plane for before in blocks._before.values() for plane in before.values()]
    summed = sum(weights.numel() for _, weights in blocks._sums.values())
    return summed + sum(plane[0].numel() for plane in planes)


def watch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by what is held after each window."""
    found, add = list[int](), Blocks.add

    def watched(blocks: Blocks, window: Box, answer: Tensor, weight: Tensor) -> None:
        add(blocks, window, answer, weight)
        found.append(held(blocks))

    monkeypatch.setattr(Blocks, "add", watched)
    return found


def passed(
    room: int, axes: tuple[int, ...], outputs: int = 3, bound: int | None = None
) -> list[tuple[Box, Tensor]]:
    """Return the blocks of one noisy image."""
    found: list[tuple[Box, Tensor]] = []
    torch.manual_seed(1)
    image = torch.rand(1, *SHAPE)
    sweep = Sweep(
        axes=axes,
        room=room,
        bound=bound,
        finish=lambda box, logits: found.append((box, logits)),
    )
    sliding.pass_over(Mixed(outputs).eval(), image, PLAN, sweep=sweep, checkpoint=go_on)
    return found


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("room", [0, 120_000])
def test_blocks_hold_the_logits_of_the_whole(room: int, axes: tuple[int, ...]) -> None:
    ((box, whole),) = passed(sys.maxsize, axes)
    assert box == tuple(slice(0, extent) for extent in SHAPE)
    blocks = passed(room, axes)
    assert len(blocks) > 2
    seen = torch.zeros(SHAPE, dtype=torch.bool)
    for part, logits in blocks:
        assert torch.equal(logits, whole[(slice(None), *part)])
        seen[part] = True
    assert seen.all()


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("bound", [0, 30_000, 60_000])
def test_parts_hold_the_logits_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, bound: int, axes: tuple[int, ...]
) -> None:
    ((_, whole),) = passed(sys.maxsize, axes)
    found = watch(monkeypatch)
    blocks = passed(sys.maxsize, axes, bound=bound)
    laid = lay(bound, axes)
    assert len(found) == len(laid.visits) > len(WINDOWS)
    assert 4 * (3 + 1) * max(found) == laid.held
    assert bound == 0 or laid.held <= bound
    filled = torch.zeros(SHAPE)
    for part, logits in blocks:
        assert torch.equal(logits, whole[(slice(None), *part)])
        # of each block all but the planes that it shares with those before it
        filled[tuple(slice(one.start + (one.start > 0), one.stop) for one in part)] += 1
    assert (filled == 1).all()


def test_the_more_sums_may_take_the_fewer_windows_are_run_again() -> None:
    once = lay(None, (0, 1, 2))
    laid = [lay(bound, (0, 1, 2)) for bound in (0, 30_000, 40_000, 60_000, once.held - 1)]
    runs = [len(one.visits) for one in laid]
    assert runs == sorted(runs, reverse=True)
    assert len(set(runs)) > 3
    assert runs[0] <= 8 * len(WINDOWS)
    assert [one.spared for one in laid] == [once.held] * len(laid)


def test_windows_are_run_once_where_their_sums_may_take_what_they_need() -> None:
    once = lay(None, (0, 1, 2))
    for bound in (once.held, 2 * once.held):
        laid = lay(bound, (0, 1, 2))
        assert laid.spared is None
        assert [visit.window for visit in laid.visits] == WINDOWS


@pytest.mark.parametrize("outputs", [1, 25, 105, 256])
def test_sums_of_any_number_of_outputs_take_less_than_one_answer(outputs: int) -> None:
    bound = 4 * (outputs + 1) * int(np.prod(PLAN.size))
    assert bound / 2 < lay(bound, (0, 1, 2), outputs).held <= bound


def test_an_image_of_one_window_is_not_divided() -> None:
    windows = sliding.lay(PLAN.size, PLAN.size, PLAN.overlap)
    sweep = Sweep(axes=(0, 1, 2), room=0, bound=0, finish=lambda *_: None)
    laid = stitching.lay_within(PLAN.size, windows, sweep, 3)
    assert [visit.window for visit in laid.visits] == windows
    assert laid.spared is None


def test_an_axis_is_cut_only_where_the_sum_does_not_fit() -> None:
    windows = stitching.in_order(sliding.lay(SHAPE, PLAN.size, PLAN.overlap), (0, 1, 2))
    cuts = [Blocks(SHAPE, windows, range(count)).most_voxels(windows) for count in range(4)]
    assert cuts[0] == np.prod(SHAPE)
    assert cuts == sorted(cuts, reverse=True)
    assert cuts[3] < cuts[0] / 2
    for voxels in cuts:
        sweep = Sweep(axes=(0, 1, 2), room=4 * (5 + 1) * voxels, finish=lambda *_: None)
        blocks = stitching.lay_within(SHAPE, windows, sweep, outputs=5).blocks
        assert blocks.most_voxels(windows) == voxels


def test_what_is_said_of_memory_is_what_is_held() -> None:
    windows = stitching.in_order(sliding.lay(SHAPE, PLAN.size, PLAN.overlap), (2, 0, 1))
    blocks = Blocks(SHAPE, windows, (2, 0))
    expected = blocks.most_voxels(windows)
    weight = stitching.window_weights(PLAN.size, "gaussian", CPU)
    most = 0
    for window in windows:
        blocks.add(window, torch.ones(2, *PLAN.size), weight)
        most = max(most, held(blocks))
        for _, logits in blocks.finished():
            torch.testing.assert_close(logits, torch.ones_like(logits))
    assert most == expected
    assert not blocks._sums


@pytest.mark.parametrize("outputs", [1, 25, 105])
def test_what_an_image_holds_is_what_was_said_whatever_the_batch(
    monkeypatch: pytest.MonkeyPatch, outputs: int
) -> None:
    class Constant(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return torch.zeros(()).expand(len(pixels), outputs, *pixels.shape[2:])

    found = watch(monkeypatch)
    axes = (0, 1, 2)
    sweep = Sweep(axes=axes, room=0, finish=lambda *_: None)
    plan = replace(PLAN, batch=4)
    sliding.pass_over(Constant(), torch.zeros(1, *SHAPE), plan, sweep=sweep, checkpoint=go_on)
    windows = stitching.in_order(sliding.lay(SHAPE, PLAN.size, PLAN.overlap), axes)
    assert max(found) == Blocks(SHAPE, windows, axes).most_voxels(windows)


def test_what_is_held_is_no_more_for_a_longer_image() -> None:
    said = []
    for length in (26, 40, 96):  # the last window begins where a step ends
        shape = (length, *SHAPE[1:])
        windows = stitching.in_order(sliding.lay(shape, PLAN.size, PLAN.overlap), (0, 1, 2))
        said.append(Blocks(shape, windows, (0, 1, 2)).most_voxels(windows))
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize("orientation", ["RAS", "SPL", "AIR"])
@pytest.mark.parametrize("classes", [2, 20])
@pytest.mark.parametrize("room", [0, 6])
def test_labels_made_block_by_block_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, room: int, classes: int, orientation: str
) -> None:
    image = tiny.volume((22, 26, 31))
    predictor = SegmentationPredictor(
        tiny.coarse_spec(classes, orientation), Mixed(classes).eval(), Device()
    )
    maps, boxes = [], []
    fill = labels.Canvas.fill

    def watched(canvas: labels.Canvas, box: Box, logits: Tensor) -> None:
        boxes.append(box)
        fill(canvas, box, logits)

    monkeypatch.setattr(labels.Canvas, "fill", watched)
    for bytes_per_voxel in (1000, room):
        monkeypatch.setattr("pipeline.models.segmentation._ROOM_PER_VOXEL", bytes_per_voxel)
        found = predictor.predict_with_probabilities(image, checkpoint=go_on)
        plain = predictor.predict(image, checkpoint=go_on)
        np.testing.assert_array_equal(found.label_map, plain.label_map)
        maps.append(found)
    assert len(boxes) > 4
    assert len(np.unique(maps[0].label_map)) > 1
    np.testing.assert_array_equal(maps[0].label_map, maps[1].label_map)
    for one, two in zip(maps[0].maps, maps[1].maps, strict=True):
        np.testing.assert_allclose(one.values, two.values, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 25, 105])
def test_logits_of_divided_cells_alone_give_the_labels_of_all(
    monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    grid = grids.Grid(
        source_shape=(23, 41, 38),
        axes=(2, 1, 0),
        flips=(True, False, True),
        steps=(1.5 / 0.8, 1.5 / 0.9, 1.5 / 2.5),
        full=(20, 25, 38),
        start=(2, 3, 0),
        shape=(17, 20, 38),
    )
    generator = torch.Generator().manual_seed(classes)
    coarse = torch.randn(1, classes, 4, 4, 5, generator=generator)
    logits = torch.nn.functional.interpolate(coarse, grid.shape, mode="trilinear")[0]
    found = []
    for many in (classes + 1, classes):
        monkeypatch.setattr(labels, "MANY_CLASSES", many)
        found.append(labels.to_source(logits, grid, checkpoint=go_on))
    assert len(np.unique(found[0])) > min(classes, 20) / 2
    # of two classes that are equal but for rounding either may win
    assert (found[0] != found[1]).sum() <= 1
