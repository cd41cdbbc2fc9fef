"""What learning takes, counted: against what can be counted by hand."""

from __future__ import annotations

import pytest

from pipeline.training import planning_costs


def test_a_convolution_costs_what_it_computes_three_times_over() -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1}
    edsr = {"name": "EDSR", "arguments": {**arguments, "scale": 1, "features": 8, "blocks": 1}}
    # head and tail, two of the block, and one behind it
    weights = 9 * (8 + 8 + 3 * 8 * 8)
    found = planning_costs.of(edsr, (16, 12))
    assert found.operations == 3 * 2 * weights * 16 * 12
    # maps of eight, of the ReLU's too, and one of the tail; each with its gradient
    assert found.bytes >= 2 * 4 * 16 * 12 * (5 * 8 + 1)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_what_is_seen_twice_as_large_costs_twice_as_much(device: str) -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "features": 8, "blocks": 1}
    one, two = (
        planning_costs.of({"name": "EDSR", "arguments": arguments}, size, device)
        for size in ((16, 16), (16, 32))
    )
    assert one.times(2) == two


def test_a_detector_is_counted_with_all_its_heads() -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "num_classes": 1, "features": [8, 16]}
    one = planning_costs.of({"name": "RetinaNet", "arguments": arguments}, (16, 16), "cpu")
    anchors = {"anchor_shapes": [[4, 4], [8, 8]]}
    two = planning_costs.of(
        {"name": "RetinaNet", "arguments": arguments | anchors}, (16, 16), "cpu"
    )
    # one more anchor: 4 edges and a score, from 16 channels of two levels
    assert two.operations - one.operations == 3 * 2 * 9 * 16 * 5 * (8 * 8 + 4 * 4)
