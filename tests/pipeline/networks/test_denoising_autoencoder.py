from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from pipeline.networks.denoising_autoencoder import DenoisingAutoEncoder
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double


def small(spatial_dims: int = 2, **changes: Any) -> DenoisingAutoEncoder:
    torch.manual_seed(0)
    stated = {"spatial_dims": spatial_dims, "in_channels": 1, "out_channels": 1}
    return DenoisingAutoEncoder(**{**stated, "features": (4, 8, 8), **changes})


def pair(spatial_dims: int, extent: int = 10) -> tuple[Tensor, Tensor]:
    """A ball and the same ball with noise: (1, 1, *(extent,) * spatial_dims) each."""
    axes = torch.meshgrid([torch.arange(float(extent)) - extent / 2] * spatial_dims, indexing="ij")
    clean = (torch.stack(axes).square().sum(0) < 9).float()[None, None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    return clean, clean + 0.3 * noise


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 8), (3, 2, 9), (4, 4, 4)])
@pytest.mark.parametrize("residual", [True, False])
def test_an_answer_has_the_size_of_the_image(size: tuple[int, ...], *, residual: bool) -> None:
    network = small(len(size), residual=residual)
    with torch.no_grad():
        assert tuple(network(torch.zeros(2, 1, *size)).shape) == (2, 1, *size)


def test_an_answer_may_have_other_channels_than_the_image() -> None:
    network = small(in_channels=2, out_channels=3, residual=False)
    with torch.no_grad():
        assert tuple(network(torch.zeros(1, 2, 6, 5)).shape) == (1, 3, 6, 5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("residual", [True, False])
def test_one_noisy_image_is_learned_by_heart(spatial_dims: int, *, residual: bool) -> None:
    clean, noisy = pair(spatial_dims)
    assert_overfits(small(spatial_dims, residual=residual), noisy, clean, F.mse_loss, below=0.03)


def test_a_residual_network_that_knows_no_noise_answers_with_the_image() -> None:
    network = small()
    last = network.decoder[-1].conv
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    _, noisy = pair(2, 9)
    assert torch.equal(network(noisy), noisy)


def test_what_is_added_to_an_odd_size_repeats_the_border() -> None:
    network = small(residual=False).eval()
    noisy = pair(2, 9)[1][..., :6]
    wider = torch.cat([noisy, *[noisy[..., -1:]] * 2], -1)
    wider = torch.cat([wider, *[wider[..., -1:, :]] * 3], -2)
    with torch.no_grad():
        assert torch.equal(network(noisy), network(wider)[..., :9, :6])


def test_float32_answers_as_float64() -> None:
    assert_same_in_double(small(3), pair(3)[1])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"features": (4,)}, "2 to 8 widths"),
        ({"features": (4,) * 9}, "2 to 8 widths"),
        ({"in_channels": 2}, "channels of the image"),
    ],
)
def test_sizes_without_meaning_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        small(**changes)
