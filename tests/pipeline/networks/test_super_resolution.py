"""EDSR, RCAN and SRResNet: what they share, and what is each one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from pipeline.networks.edsr import EDSR
from pipeline.networks.rcan import RCAN
from pipeline.networks.srresnet import SRResNet
from pipeline.networks.super_resolution import Skip, SuperResolution, finer
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

Make = Callable[..., SuperResolution]
SMALL: dict[Make, dict[str, Any]] = {
    EDSR: {"features": 8, "blocks": 2},
    RCAN: {"features": 8, "groups": 2, "blocks": 1, "reduction": 2},
    SRResNet: {"features": 8, "blocks": 1},
}
each = pytest.mark.parametrize("make", SMALL)


def small(make: Make, spatial_dims: int = 2, **changes: Any) -> SuperResolution:
    torch.manual_seed(0)
    arguments = {"spatial_dims": spatial_dims, "in_channels": 1, "out_channels": 1, **SMALL[make]}
    return make(**{**arguments, **changes})


def gratings(spatial_dims: int, extent: int) -> Tensor:
    """Stripes of two directions and widths, 0 to 1: (2, 1, *(extent,) * spatial_dims)."""
    axes = torch.meshgrid([torch.arange(float(extent))] * spatial_dims, indexing="ij")
    waves = [axes[0] / 3, axes[-1] / 2]
    return torch.stack([0.5 + 0.5 * wave.sin() for wave in waves])[:, None]


@each
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_an_answer_has_scale_times_as_many_voxels(
    make: Make, spatial_dims: int, scale: int
) -> None:
    network = small(make, spatial_dims, scale=scale, in_channels=2, out_channels=3, features=4)
    size = (5, 4, 3)[:spatial_dims]
    with torch.no_grad():
        answer = network(torch.zeros(2, 2, *size))
    assert tuple(answer.shape) == (2, 3, *(scale * extent for extent in size))


@each
@pytest.mark.parametrize(("spatial_dims", "extent"), [(2, 16), (3, 6)])
def test_one_batch_is_learned_by_heart(make: Make, spatial_dims: int, extent: int) -> None:
    sharp = gratings(spatial_dims, extent)
    coarse = sharp[(..., *[slice(None, None, 2)] * spatial_dims)]
    # who answers with the mean alone comes to 0.12
    network = small(make, spatial_dims)
    assert_overfits(network, coarse, sharp, F.mse_loss, below=0.02, rate=0.005)


@each
def test_float32_answers_as_float64(make: Make) -> None:
    network = small(make, 3)
    network(gratings(3, 6))  # lets batch normalisation see something
    assert_same_in_double(network, gratings(3, 6))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_in_two_axes_a_finer_step_is_a_convolution_and_a_pixel_shuffle(scale: int) -> None:
    torch.manual_seed(0)
    steps = finer(2, 3, scale)
    expected = features = torch.randn(2, 3, 5, 6)
    for step in steps:
        expected = F.pixel_shuffle(step.conv_block(expected), step.scale_factor)
    assert torch.equal(steps(features), expected)


def test_finer_steps_end_with_the_channels_that_are_asked_for() -> None:
    assert tuple(finer(2, 6, 4, out_channels=1)(torch.zeros(2, 6, 3, 5)).shape) == (2, 1, 12, 20)


def test_a_finer_step_begins_with_weights_no_larger_than_those_around_it() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 32, 24, 24)
    # MONAI's own sub-pixel convolution answers with a deviation of 1.4
    assert finer(2, 32, 2)(features).std() < 1.0


@pytest.mark.parametrize("make", [EDSR, RCAN, SRResNet, partial(EDSR, direct=True)])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_who_begins_with_nothing_answers_0_and_learns_all_the_same(
    make: Make, spatial_dims: int
) -> None:
    made = EDSR if isinstance(make, partial) else make
    network = small(made, spatial_dims, **getattr(make, "keywords", {}))
    assert network(gratings(spatial_dims, 6)).abs().max() > 0
    network.begin_with_nothing()
    answer = network(gratings(spatial_dims, 6))
    assert answer.abs().max() == 0
    (answer - 1).square().mean().backward()
    assert max(float(one.grad.abs().max()) for one in network.parameters()) > 0


def test_edsr_subtracts_the_mean_it_is_told() -> None:
    network = small(EDSR, mean=0.5)
    with torch.no_grad():
        assert torch.equal(network(gratings(2, 6)), small(EDSR)(gratings(2, 6) - 0.5))


def test_edsr_without_a_convolution_on_the_fine_grid_answers_with_its_finer_step() -> None:
    network = small(EDSR, direct=True, scale=4, out_channels=3)
    (first, last) = network.finer
    assert (first.conv_block.out_channels, last.conv_block.out_channels) == (8 * 4, 3 * 4)
    with torch.no_grad():
        assert tuple(network(gratings(2, 6)).shape) == (2, 3, 24, 24)
    with pytest.raises(ValueError, match="scale 1"):
        small(EDSR, direct=True, scale=1)


def test_in_three_axes_a_finer_step_lays_channels_out_slices_first() -> None:
    (step,) = finer(3, 1, 2)
    step.conv_block = nn.Identity()
    eight = torch.arange(8.0).view(1, 8, 1, 1, 1)
    assert torch.equal(step(eight), torch.arange(8.0).view(1, 1, 2, 2, 2))


def test_no_finer_step_leaves_features_as_they_are() -> None:
    features = torch.randn(1, 4, 3, 3)
    assert torch.equal(finer(2, 4, 1)(features), features)


def test_a_residual_block_of_edsr_adds_a_tenth_of_its_branch() -> None:
    network = small(EDSR, residual_weight=0.1)
    block = network.body[0]
    assert isinstance(block, Skip)
    first, _, second = block.branch
    features = torch.randn(1, 8, 5, 5)
    expected = features + 0.1 * second(first(features).relu())
    assert torch.equal(block(features), expected)


def test_channel_attention_of_rcan_scales_channels_by_what_their_means_say() -> None:
    attention = small(RCAN).body[0].branch[0].branch[3]
    narrow, _, wide, _ = attention.fc
    features = torch.randn(2, 8, 5, 6)
    squeezed = features.mean((2, 3))
    hidden = (squeezed @ narrow.weight.T + narrow.bias).clamp(min=0)
    share = 1 / (1 + (-(hidden @ wide.weight.T + wide.bias)).exp())
    torch.testing.assert_close(attention(features), features * share[:, :, None, None])


@each
def test_a_skip_leads_around_the_body(make: Make) -> None:
    network = small(make).eval()
    for parameter in network.body.parameters():
        nn.init.zeros_(parameter)
    images = gratings(2, 8)
    with torch.no_grad():
        expected = network.tail(network.finer(network.head(images)))
        assert torch.equal(network(images), expected)


@each
def test_published_sizes_are_the_defaults(make: Make) -> None:
    with torch.device("meta"):
        network = make(spatial_dims=2, in_channels=3, out_channels=3)
    blocks = sum(isinstance(module, Skip) for module in network.modules())
    assert blocks == {EDSR: 16, SRResNet: 16, RCAN: 10 * 20 + 10}[make]


@each
@pytest.mark.parametrize(
    ("changes", "sentence"), [({"scale": 5}, "scale is one of"), ({"blocks": 0}, "residual block")]
)
def test_sizes_without_meaning_are_refused(
    make: Make, changes: dict[str, int], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        small(make, **changes)


def test_groups_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 64 groups"):
        small(RCAN, groups=65)
