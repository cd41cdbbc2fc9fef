"""RoIAlign is the mean of its samples, beyond the map too, and its gradients are theirs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import pipeline.models  # noqa: F401, before torchvision
from pipeline.models import roi_align as module
from pipeline.models.roi_align import roi_align

RATIOS = (1, 2, 3, -1)
BINS = (3, 2)


def some_maps(images: int = 2, channels: int = 3, size: tuple[int, int] = (9, 11)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((images, channels, *size), generator=generator, dtype=torch.float64)


def pool(
    maps: Tensor, rois: Tensor, ratio: int, *, aligned: bool = False, bins: tuple[int, int] = BINS
) -> Tensor:
    return roi_align(maps, rois, 1.0, *bins, ratio, aligned)


def by_samples(image: Tensor, box: list[float], ratio: int, *, aligned: bool) -> Tensor:
    """Return the bins (C, rows, columns) of one box, sample by sample, as the definition has it."""
    shift = 0.5 if aligned else 0.0
    x0, y0, x1, y1 = (edge - shift for edge in box)
    extents = [y1 - y0, x1 - x0] if aligned else [max(y1 - y0, 1.0), max(x1 - x0, 1.0)]
    sizes = [extent / count for extent, count in zip(extents, BINS, strict=True)]
    counts = [ratio if ratio > 0 else max(math.ceil(size), 0) for size in sizes]
    pooled = torch.zeros((len(image), *BINS), dtype=image.dtype)
    for row in range(BINS[0]):
        for column in range(BINS[1]):
            for i in range(counts[0]):
                for j in range(counts[1]):
                    y = y0 + row * sizes[0] + (i + 0.5) * (sizes[0] / counts[0])
                    x = x0 + column * sizes[1] + (j + 0.5) * (sizes[1] / counts[1])
                    pooled[:, row, column] += between_four(image, y, x)
    return pooled / max(counts[0] * counts[1], 1)


def between_four(image: Tensor, y: float, x: float) -> Tensor:
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(image), dtype=image.dtype)
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    lower, later = y - top, x - left
    above = (1 - later) * image[:, top, left] + later * image[:, top, right]
    below = (1 - later) * image[:, bottom, left] + later * image[:, bottom, right]
    return (1 - lower) * above + lower * below


EDGE = st.one_of(st.integers(-4, 14).map(float), st.floats(-4, 14))


@settings(max_examples=60, deadline=None)
@given(
    box=st.tuples(EDGE, EDGE, EDGE, EDGE).map(list),
    ratio=st.sampled_from(RATIOS),
    aligned=st.booleans(),
)
def test_any_box_is_the_mean_of_its_samples(box: list[float], ratio: int, *, aligned: bool) -> None:
    image = some_maps(images=1)
    pooled = pool(image, torch.tensor([[0.0, *box]], dtype=torch.float64), ratio, aligned=aligned)
    expected = by_samples(image[0], box, ratio, aligned=aligned)
    torch.testing.assert_close(pooled[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("aligned", [False, True])
def test_boxes_on_the_map_are_pooled_as_torchvision_pools_them(
    ratio: int, *, aligned: bool
) -> None:
    from torchvision.ops.roi_align import _roi_align

    maps = some_maps()
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand((20, 2), generator=generator, dtype=torch.float64) * 8
    sizes = 0.1 + torch.rand((20, 2), generator=generator, dtype=torch.float64) * 8
    image = torch.arange(20, dtype=torch.float64)[:, None] % 2
    rois = torch.cat([image, corners, corners + sizes], 1)
    # its own function, as it is before it is compiled
    expected = _roi_align.__wrapped__(maps, rois, 0.5, *BINS, ratio, aligned)
    torch.testing.assert_close(roi_align(maps, rois, 0.5, *BINS, ratio, aligned), expected)


def test_a_ramp_is_pooled_to_the_middles_of_the_bins() -> None:
    ramp = torch.arange(12.0).expand(1, 1, 8, 12)
    pooled = pool(ramp, torch.tensor([[0.0, 2, 1, 8, 7]]), 2, bins=(1, 3))
    assert pooled.tolist() == [[[[3.0, 5.0, 7.0]]]]


def test_what_lies_more_than_a_pixel_outside_counts_nothing() -> None:
    ones = torch.ones(1, 1, 4, 4)
    # samples at -3, -1, 1, 3 along x, each in a bin of its own
    pooled = pool(ones, torch.tensor([[0.0, -4, 0, 4, 4]]), 1, bins=(1, 4))
    assert pooled.tolist() == [[[[0.0, 1.0, 1.0, 1.0]]]]


@pytest.mark.parametrize("ratio", [2, -1])
def test_gradients_are_those_of_the_samples(ratio: int) -> None:
    maps = some_maps(images=2, channels=2, size=(5, 6)).requires_grad_()
    rois = torch.tensor([[0, 0.5, 0.2, 4.1, 3.9], [1, -3, 2, 9, 4], [1, 1, 1, 2, 2]]).double()
    assert torch.autograd.gradcheck(lambda images: pool(images, rois, ratio, aligned=True), (maps,))


def test_many_boxes_are_pooled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, rois = some_maps(), torch.rand(30, 5).double() * torch.tensor([0, 4, 4, 9, 9])
    whole = pool(maps, rois, -1)
    monkeypatch.setattr(module, "_WEIGHED", 50)
    assert torch.equal(pool(maps, rois, -1), whole)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precisions_are_computed_in_float32_and_come_back(kind: torch.dtype) -> None:
    maps = some_maps().to(kind)
    rois = torch.tensor([[1.0, 1, 1, 6, 7]])
    pooled = pool(maps, rois, 2)
    assert torch.equal(pooled, pool(maps.float(), rois, 2).to(kind))


@pytest.mark.parametrize("edge", [math.nan, math.inf])
def test_a_box_that_is_none_is_nothing(edge: float) -> None:
    pooled = pool(some_maps(), torch.tensor([[0.0, 1, edge, 2, edge]]), 2)
    assert not pooled[0].any()


def test_no_boxes_have_no_bins() -> None:
    assert pool(some_maps(), torch.zeros(0, 5), 2).shape == (0, 3, *BINS)
