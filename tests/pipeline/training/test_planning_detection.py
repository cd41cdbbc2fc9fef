"""Automatic recipes of detections: anchors, levels, a patch and a schedule that follow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.training import detectors, planning_costs, planning_detection, recipe
from pipeline.training.planning_boxes import SeenBoxes
from pipeline.training.planning_costs import Budget, Cost
from pipeline.training.planning_segmentation import Seen
from tests import quick_training

GIGABYTE = 2**30
Sized = Mapping[str, Sequence[Sequence[float]]]


def plan(
    shape: Sequence[int],
    boxes: Sized,
    spacing: Sequence[float] | None = None,
    *,
    cases: int = 100,
    **budget: Any,
) -> dict[str, Any]:
    seen = Seen(
        shapes=[tuple(shape)],
        spacings=[tuple(spacing or (1.0, 1.0, 1.0))] if len(shape) == 3 else None,
        channels=1,
        classes=len(boxes) + 1,
        names=[*boxes],
    )
    sides = {name: np.asarray(of_label, float) for name, of_label in boxes.items()}
    stated = {"minutes": 60.0, "cores": 2, "memory": 4 * GIGABYTE} | budget
    found = SeenBoxes(sides=sides, most=max(map(len, boxes.values())))
    return planning_detection.plan(seen, found, cases, Budget(**stated))


def checked(planned: Mapping[str, Any], names: Sequence[str]) -> recipe.Recipe:
    labels = [{"number": number, "name": name} for number, name in enumerate(names)]
    document = quick_training.DETECTION | planned | {"labels": labels}
    dims = len(planned["input"]["size"])
    document["input"] = {"modalities": ["OT"], "spatial_dims": dims, **planned["input"]}
    return recipe.check(document)


def arguments(planned: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = planned["network"]["arguments"]
    return found


def cost_of(planned: Mapping[str, Any]) -> Cost:
    """Count a part of a patch, and take it as often."""
    size = planned["input"]["size"]
    block = [math.gcd(side, 32) for side in size]
    whole = math.prod(size) / math.prod(block)
    return planning_costs.of(planned["network"], block, "cpu").times(whole)


CELLS: Sized = {"small": [[36.0, 36.0]] * 3, "large": [[200.0, 180.0]] * 40}
NODULES: Sized = {"nodule": [[5.0, 5.0, 5.0]] * 20 + [[15.0, 15.0, 15.0]] * 20}


def test_boxes_of_two_sizes_get_anchors_that_match_them() -> None:
    planned = arguments(plan((480, 640), CELLS))
    assert planned["anchor_shapes"] == [[36, 36], [100, 90]]  # the second, doubled once
    assert (planned["stride"], planned["finest"], len(planned["features"])) == (4, 2, 4)


def test_boxes_of_volumes_are_seen_in_voxels_of_the_grid() -> None:
    planned = plan((60, 128, 128), NODULES, (2.5, 1.25, 1.25))
    assert planned["input"]["spacing"] == [2.5, 1.25, 1.25]
    assert arguments(planned)["anchor_shapes"] == [[2, 4, 4], [3, 6, 6]]
    assert (arguments(planned)["stride"], arguments(planned)["finest"]) == (2, 0)


@pytest.mark.parametrize("side", [5.0, 9.0, 20.0, 40.0, 100.0])
def test_the_pyramid_begins_where_small_boxes_are_some_cells_wide(side: float) -> None:
    planned = arguments(plan((512, 512), {"one": [[side, side]] * 9}))
    cell = planned["stride"] * 2 ** planned["finest"]
    assert 1.75 * cell <= side
    assert side < 3.5 * cell or cell == 16
    assert len(planned["features"]) - planned["finest"] >= 2


def test_flat_boxes_are_some_cells_thick_too() -> None:
    planned = arguments(plan((40, 256, 256), {"flat": [[2.0, 20.0, 20.0]] * 9}))
    assert (planned["stride"], planned["finest"]) == (2, 0)
    cubes = arguments(plan((40, 256, 256), {"cube": [[9.3, 9.3, 9.3]] * 9}))
    assert (cubes["stride"], cubes["finest"]) == (2, 1)


def test_images_are_seen_whole_where_memory_allows_and_else_in_patches_with_room() -> None:
    whole = plan((480, 640), CELLS)
    assert whole["input"]["size"] == [480, 640]
    assert (whole["patches"], whole["foreground"]) == (1, 0)
    less = plan((960, 960), CELLS, memory=2**27)
    assert math.prod(less["input"]["size"]) < 960 * 960
    assert all(side >= 2 * 180 for side in less["input"]["size"])
    assert less["patches"] > 1
    assert less["foreground"] > 0
    # a usual box is whole in one window or its neighbour
    assert less["input"]["overlap"] * min(less["input"]["size"]) >= 175


@pytest.mark.parametrize(
    ("shape", "boxes"), [((900, 1000), CELLS), ((160, 200, 200), NODULES), ((16, 16, 16), NODULES)]
)
def test_two_patches_at_a_time_fit_into_memory(shape: Sequence[int], boxes: Sized) -> None:
    for memory in (2**27, 2**30):
        planned = plan(shape, boxes, memory=memory, minutes=600)
        assert max(planned["batch"], 2) * cost_of(planned).bytes <= memory


def test_where_large_boxes_leave_little_memory_the_network_is_narrow() -> None:
    large: Sized = {"one": [[400.0, 400.0]] * 9}
    wide, narrow = (plan((960, 960), large, memory=memory) for memory in (2**31, 2**28))
    assert (arguments(wide)["features"][0], arguments(narrow)["features"][0]) == (32, 16)
    assert min(narrow["input"]["size"]) >= 2 * 400
    assert 2 * cost_of(narrow).bytes <= 2**28


def test_more_time_never_gives_fewer_epochs_of_the_same_network() -> None:
    plans = [plan((480, 640), CELLS, minutes=minutes) for minutes in (1, 4, 16, 64, 256)]
    for less, more in itertools.pairwise(plans):
        assert arguments(less)["features"] <= arguments(more)["features"]
        if (less["network"], less["input"]) == (more["network"], more["input"]):
            assert less["epochs"] <= more["epochs"]
    assert arguments(plans[0])["features"][0] == 16
    assert arguments(plans[-1])["features"][0] == 32
    assert plans[-1]["epochs"] == 40


def test_with_little_time_less_of_a_large_volume_is_learnt_from() -> None:
    much, little = (plan((200, 300, 300), NODULES, minutes=minutes) for minutes in (6000, 10))
    assert math.prod(little["input"]["size"]) < math.prod(much["input"]["size"]) / 4
    asked = cost_of(little).operations * little["epochs"] * 100 * little["patches"]
    assert asked <= 1.1 * Budget(minutes=10, cores=2, memory=0).operations


def test_small_things_in_volumes_are_hit_by_less() -> None:
    def hit_iou(shape: Sequence[int], side: float) -> float:
        planned = plan(shape, {"one": [[side] * len(shape)] * 5})
        return float(planned["evaluation"]["hit_iou"])

    assert hit_iou((64, 64, 64), 3.0) == 0.1
    shared = (1 - 2 / 6) ** 3
    assert hit_iou((64, 64, 64), 6.0) == pytest.approx(shared / (2 - shared), abs=0.01)
    assert hit_iou((64, 64, 64), 20.0) == 0.5
    assert hit_iou((256, 256), 20.0) == 0.5


def test_sides_are_not_mirrored_and_thick_slices_not_turned() -> None:
    named = plan((256, 256), {"Left lung": [[60.0, 50.0]] * 5})
    assert (named["augmentation"]["flip"], named["augmentation"]["rotate"]) == (0, 15)
    thick = plan((20, 128, 128), {"cyst": [[20.0, 20.0, 20.0]] * 5}, (5, 1, 1))
    assert (thick["augmentation"]["flip"], thick["augmentation"]["rotate"]) == (0.5, 0)


def test_as_many_boxes_are_stated_as_images_have() -> None:
    few, many = (plan((256, 256), {"one": [[20.0, 20.0]] * count})["options"] for count in (5, 400))
    assert (few["maximum"], many["maximum"]) == (100, 800)


@settings(max_examples=8, deadline=None)
@given(
    shape=st.lists(st.integers(1, 400), min_size=2, max_size=3),
    side=st.floats(0.5, 600),
    ratio=st.floats(1, 40),
    cases=st.integers(1, 3000),
    memory=st.integers(2**26, 2**34),
    minutes=st.floats(0.01, 10_000),
)
# larger than any patch, and than any anchor may be
@example(shape=[1, 1], side=410.0, ratio=40.0, cases=1, memory=2**26, minutes=1.0)
def test_whatever_is_seen_becomes_a_recipe_that_can_be_trained(
    shape: list[int], side: float, ratio: float, cases: int, memory: int, minutes: float
) -> None:
    dims = len(shape)
    boxes = {"one": [[side] * dims] * 4, "two": [[side * ratio] * dims] * 4}
    planned = plan(shape, boxes, cases=cases, memory=memory, minutes=minutes)
    stated = arguments(planned)
    checked(planned, [*boxes])
    multiple = stated["stride"] * 2 ** (len(stated["features"]) - 1)
    assert all(extent % multiple == 0 for extent in planned["input"]["size"])
    assert planned["batch"] >= 1


def test_the_network_of_a_plan_is_built_with_its_anchors() -> None:
    wanted = checked(plan((64, 64, 64), NODULES, memory=2**27), ["nodule"])
    built: Any = detectors.of(wanted).network()
    assert len(built.anchor_generator.cell_anchors[0]) == len(
        wanted.network.arguments["anchor_shapes"]
    )
