"""Automatic recipes of restorations: axes, a network, a patch and a schedule that follow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training import planning_costs, planning_restoration, recipe
from pipeline.training.fields import DegradationField
from pipeline.training.planning_costs import Budget
from pipeline.training.planning_segmentation import Seen
from tests import quick_training

GIGABYTE = 2**30
NOISE = DegradationField(noise=(0.02, 0.1))
TWICE = DegradationField(downsample=2)


def plan(
    shape: Sequence[int],
    undone: DegradationField,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    cases: int = 20,
    channels: int = 1,
    **budget: Any,
) -> dict[str, Any]:
    spacings = [tuple(spacing)] if len(shape) == 3 else None
    seen = Seen(shapes=[tuple(shape)], spacings=spacings, channels=channels, classes=1, names=())
    stated = {"minutes": 60.0, "cores": 2, "memory": 4 * GIGABYTE} | budget
    return planning_restoration.plan(seen, undone, cases, 4, Budget(**stated))


def arguments(planned: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = planned["network"]["arguments"]
    return found


def voxels(planned: Mapping[str, Any], cases: int = 20) -> int:
    per_epoch = cases * planned["patches"] * math.prod(planned["input"]["size"])
    return int(planned["epochs"] * per_epoch)


def test_even_volumes_are_restored_in_three_axes() -> None:
    planned = plan((120, 160, 160), TWICE)
    assert planned["input"]["spatial_dims"] == arguments(planned)["spatial_dims"] == 3
    assert "beside" not in planned["options"]
    assert arguments(planned)["in_channels"] == 1


def test_thick_or_few_slices_are_restored_one_by_one_with_those_beside() -> None:
    for shape, spacing, beside in (
        ((30, 256, 256), (5.0, 0.9, 0.9), 2),
        ((20, 256, 256), (1.0, 1.0, 1.0), 2),
        ((4, 256, 256), (5.0, 0.9, 0.9), 1),
    ):
        planned = plan(shape, TWICE, spacing)
        assert planned["input"]["spatial_dims"] == 2
        assert planned["options"]["beside"] == beside
        assert arguments(planned)["in_channels"] == 2 * beside + 1
    assert "beside" not in plan((1, 256, 256), TWICE, (5.0, 0.9, 0.9))["options"]


def test_pictures_are_restored_by_themselves_in_their_colours() -> None:
    planned = plan((300, 400), TWICE, channels=3)
    assert (arguments(planned)["in_channels"], arguments(planned)["out_channels"]) == (3, 3)
    assert planned["options"] == {"scale": 2, "residual": True}


def test_noise_is_taken_away_on_the_grid_of_the_image() -> None:
    planned = plan((300, 400), NOISE)
    assert planned["options"]["scale"] == arguments(planned)["scale"] == 1
    assert not arguments(planned)["direct"]
    assert planned["input"]["size"] == [48, 48]
    assert plan((300, 400), TWICE)["input"]["size"] == [32, 32]


def test_more_time_never_gives_fewer_epochs_of_the_same_network() -> None:
    plans = [plan((256, 256), TWICE, minutes=minutes) for minutes in (1, 4, 16, 64, 256)]
    for less, more in itertools.pairwise(plans):
        assert arguments(less)["features"] <= arguments(more)["features"]
        if less["network"] == more["network"]:
            assert less["epochs"] <= more["epochs"]
            assert voxels(less) <= voxels(more)
    assert [arguments(found)["features"] for found in (plans[0], plans[-1])] == [16, 48]
    assert voxels(plans[-1]) == pytest.approx(80e6, rel=0.1)


def test_learning_takes_the_share_of_the_time_that_is_for_it() -> None:
    planned = plan((256, 256), TWICE, minutes=20)
    cost = planning_costs.of(planned["network"], planned["input"]["size"]).operations
    asked = cost * planned["epochs"] * planned["patches"] * 20
    assert asked == pytest.approx(Budget(minutes=20, cores=2, memory=0).operations, rel=0.1)


@pytest.mark.parametrize("shape", [(300, 400), (120, 160, 160)])
def test_a_batch_fits_into_memory(shape: Sequence[int]) -> None:
    batches = []
    for memory in (2**24, 2**26, 2**32):
        planned = plan(shape, TWICE, memory=memory)
        cost = planning_costs.of(planned["network"], planned["input"]["size"])
        assert max(planned["batch"], 2) * cost.bytes <= memory
        batches.append(planned["batch"] * math.prod(planned["input"]["size"]))
    assert batches == sorted(batches)
    assert batches[0] < batches[-1]


def test_whole_volumes_are_looked_at_as_often_as_there_is_time_for() -> None:
    small, large = (plan(shape, TWICE, minutes=20) for shape in ((64, 64), (160, 256, 256)))
    assert small["epochs"] / small["validate_every"] > 10
    assert large["epochs"] / large["validate_every"] <= 5


@settings(max_examples=8, deadline=None)
@given(
    shape=st.lists(st.integers(1, 600), min_size=2, max_size=3),
    steps=st.lists(st.floats(0.2, 10), min_size=3, max_size=3),
    scale=st.integers(1, planning_restoration.LARGEST_SCALE),
    cases=st.integers(1, 3000),
    memory=st.integers(2**22, 2**36),
    minutes=st.floats(0.001, 10_000),
)
def test_whatever_is_seen_becomes_a_recipe_that_can_be_trained(
    shape: list[int], steps: list[float], scale: int, cases: int, memory: int, minutes: float
) -> None:
    undone = DegradationField(downsample=scale, noise=(0.01, 0.02))
    planned = plan(shape, undone, steps, cases=cases, memory=memory, minutes=minutes)
    stated = {"labels": [], "kind": "restoration", "degradation": undone.model_dump()}
    document = quick_training.RESTORATION | planned | stated
    document["input"] = {"modalities": ["MR"], **planned["input"]}
    recipe.check(document)
