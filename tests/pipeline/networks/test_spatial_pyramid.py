from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pipeline.networks.spatial_pyramid import SpatialPyramidPooling, SPPNet
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

SIZES = [(24, 24), (1, 1), (7, 30), (12, 12, 12), (1, 5, 17)]


def small(spatial_dims: int) -> SPPNet:
    torch.manual_seed(0)
    return SPPNet(spatial_dims=spatial_dims, in_channels=2, out_channels=3, features=(4, 8))


def test_bins_hold_the_largest_values_of_a_map_worked_by_hand() -> None:
    rising = torch.arange(16.0).reshape(1, 1, 4, 4)
    maps = torch.cat([rising, -rising], 1)
    quarters = [[5.0, 7.0, 13.0, 15.0], [0.0, -2.0, -8.0, -10.0]]
    expected = torch.tensor([[15.0, 0.0, *quarters[0], *quarters[1]]])
    assert torch.equal(SpatialPyramidPooling((1, 2))(maps), expected)


def test_bins_of_an_odd_map_share_its_middle() -> None:
    row = torch.tensor([0.0, 1.0, 5.0, 2.0, 3.0]).reshape(1, 1, 1, 5)
    assert SpatialPyramidPooling((2,))(row).tolist() == [[5.0, 5.0, 5.0, 5.0]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", [1, 3, 4])
def test_a_level_is_the_adaptive_pooling_of_torch(size: tuple[int, ...], level: int) -> None:
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    pool = functional.adaptive_max_pool2d if len(size) == 2 else functional.adaptive_max_pool3d
    expected = pool(maps, level).flatten(1)
    assert torch.equal(SpatialPyramidPooling((level,))(maps), expected)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_of_any_size_gets_its_logits(size: tuple[int, ...]) -> None:
    assert small(len(size))(torch.randn(2, 2, *size)).shape == (2, 3)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_one_batch_is_learned_by_heart(spatial_dims: int) -> None:
    network = small(spatial_dims)
    images, classes = torch.randn(6, 2, *(12,) * spatial_dims), torch.arange(6) % 3
    assert_overfits(network, images, classes, functional.cross_entropy)
    assert torch.equal(network(images).argmax(1), classes)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_float32_answers_as_float64(spatial_dims: int) -> None:
    assert_same_in_double(small(spatial_dims), torch.randn(2, 2, *(17,) * spatial_dims))


@pytest.mark.parametrize("levels", [(), (0, 1)])
def test_levels_without_bins_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="number of bins"):
        SPPNet(spatial_dims=2, in_channels=1, out_channels=2, levels=levels)
