"""Automatic recipes of segmentations: a grid, a patch, a depth and a schedule that follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training import deep_supervision, planning_segmentation, recipe
from pipeline.training.planning_segmentation import Seen
from pipeline.volume import Image, Volume
from tests import quick_training

GIGABYTE = 2**30


def seen(
    shapes: list[tuple[int, ...]], spacings: list[tuple[float, ...]] | None = None, **others: Any
) -> Seen:
    given = {"channels": 1, "classes": 2, "names": ("organ",), **others}
    return Seen(shapes=shapes, spacings=spacings, **given)


def strides(planned: dict[str, Any]) -> list[list[int]]:
    found: list[list[int]] = planned["network"]["arguments"]["strides"]
    return found


def test_small_volumes_are_seen_whole() -> None:
    planned = planning_segmentation.plan(seen([(36, 50, 35)] * 40, [(1.0,) * 3] * 40), 4 * GIGABYTE)
    assert planned["input"] == {"size": [40, 56, 40], "spacing": [1, 1, 1]}
    assert strides(planned) == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert planned["patches"] == 1
    assert planned["epochs"] == 150


def test_the_grid_is_the_median_and_finer_where_slices_are_thick() -> None:
    even = planning_segmentation.plan(
        seen([(64, 64, 64)] * 3, [(1, 1, 1), (2, 1, 1), (2, 1.5, 1.5)]), GIGABYTE
    )
    assert even["input"]["spacing"] == [2, 1, 1]
    thick = [(step, 0.5, 0.5) for step in np.linspace(2.0, 8.0, 11)]
    planned = planning_segmentation.plan(seen([(20, 256, 256)] * 11, thick), GIGABYTE)
    assert planned["input"]["spacing"] == pytest.approx([2.6, 0.5, 0.5])


def test_thick_slices_are_halved_later_and_looked_across_later() -> None:
    planned = planning_segmentation.plan(
        seen([(20, 256, 256)] * 30, [(3.0, 0.6, 0.6)] * 30), 2 * GIGABYTE
    )
    assert strides(planned)[:3] == [[1, 1, 1], [1, 2, 2], [1, 2, 2]]
    assert strides(planned)[3] == [2, 2, 2]
    kernels = planned["network"]["arguments"]["kernel_size"]
    assert kernels[0] == kernels[1] == [1, 3, 3]
    assert kernels[2] == [3, 3, 3]


def test_more_memory_lets_more_be_seen() -> None:
    cases = seen([(200, 400, 400)] * 30, [(1.0, 1.0, 1.0)] * 30)
    volumes = [
        math.prod(planning_segmentation.plan(cases, memory)["input"]["size"])
        for memory in (GIGABYTE, 4 * GIGABYTE, 16 * GIGABYTE)
    ]
    assert volumes == sorted(volumes)
    assert 2 * volumes[0] < volumes[-1]


def test_less_time_makes_a_network_narrow_and_then_a_training_short() -> None:
    cases = seen([(36, 50, 35)] * 40, [(1.0,) * 3] * 40)
    found = [
        planning_segmentation.plan(cases, 8 * GIGABYTE, cases=200, operations=operations)
        for operations in (1e18, 1e14, 1e13)
    ]
    widths = [planned["network"]["arguments"]["filters"][0] for planned in found]
    assert widths == [32, 16, 8]
    assert found[0]["epochs"] == 30
    # a patch of 40 x 56 x 40 voxels takes about 30 milliard operations of learning at width 16
    assert found[1]["epochs"] == pytest.approx(1e14 / 30e9 / 200, rel=0.3)
    assert found[2]["epochs"] < found[1]["epochs"]


def test_pictures_of_few_pixels_share_a_batch() -> None:
    planned = planning_segmentation.plan(seen([(256, 256)] * 100), 8 * GIGABYTE)
    assert planned["input"] == {"size": [256, 256]}
    assert planned["batch"] == 8
    assert len(strides(planned)) == 6


def test_sides_are_not_mirrored() -> None:
    cases = [(64, 64, 64)] * 8
    for names, flip in ((("Left kidney", "Right kidney"), 0.0), (("kidney", "liver"), 0.5)):
        planned = planning_segmentation.plan(seen(cases, names=names, classes=3), GIGABYTE)
        assert planned["augmentation"]["flip"] == flip
        assert planned["balanced"]


def test_volumes_and_pictures_are_looked_at_in_the_axes_of_the_network() -> None:
    thick = np.diag([0.5, 0.6, 4.0, 1.0])[:, [2, 1, 0, 3]]
    volume = Volume(stored=np.zeros((9, 20, 30), np.int16), affine=thick)
    picture = Image(pixels=np.zeros((1, 40, 50, 3), np.uint8))
    whole, flat, mixed = (
        planning_segmentation.look(images, spatial_dims=dims, channels=1, names=["a", "b"])
        for images, dims in (([volume], 3), ([volume], 2), ([volume, picture], 2))
    )
    assert (whole.shapes, whole.spacings) == ([(9, 20, 30)], [(4.0, 0.6, 0.5)])
    assert (flat.shapes, flat.spacings) == ([(20, 30)], [(0.6, 0.5)])
    assert (mixed.shapes, mixed.spacings) == ([(20, 30), (40, 50)], None)
    assert whole.classes == 3


@settings(max_examples=40, deadline=None)
@given(
    sides=st.lists(st.integers(1, 700), min_size=3, max_size=3),
    steps=st.lists(st.floats(0.2, 10), min_size=3, max_size=3),
    cases=st.integers(1, 3000),
    memory=st.integers(2**26, 2**36),
)
def test_whatever_is_seen_becomes_a_recipe_that_can_be_trained(
    sides: list[int], steps: list[float], cases: int, memory: int
) -> None:
    whole = seen([tuple(sides)] * min(cases, 50), [tuple(steps)] * min(cases, 50))
    planned = planning_segmentation.plan(whole, memory)
    document = quick_training.SEGMENTATION | planned
    document["input"] = {"modalities": ["CT"], "spatial_dims": 3, **planned["input"]}
    recipe.check(document)
    for side, *halved in zip(planned["input"]["size"], *strides(planned), strict=True):
        assert side % math.prod(halved) == 0
        assert side <= max(2 * max(sides), 512)


def test_the_network_of_a_plan_answers_at_the_depths_that_learn() -> None:
    planned = planning_segmentation.plan(seen([(24, 40, 40)] * 4, [(3.0, 1.0, 1.0)] * 4), GIGABYTE)
    document = quick_training.SEGMENTATION | planned
    document["input"] = {"modalities": ["MR"], "spatial_dims": 3, **planned["input"]}
    wanted = recipe.check(document)
    assert wanted.deep_supervision
    network = deep_supervision.network(wanted.network, wanted.deep_supervision)
    with torch.inference_mode():
        answers = network(torch.zeros(1, 1, *wanted.input.size))
    assert answers.shape == (1, 1 + wanted.deep_supervision, 2, *wanted.input.size)
