"""Contrast: the loss is MONAI's, and views of one image come to lie together."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pipeline.training import contrast
from tests import quick_variants as quick


def vectors(count: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(drawn)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("count", [2, 7])
def test_the_loss_is_that_of_monai(count: int, temperature: float) -> None:
    from monai.losses.contrastive import ContrastiveLoss  # after our packages

    first, second = vectors(count, 0), vectors(count, 1)
    expected = ContrastiveLoss(temperature=temperature)(first, second)
    found = contrast.normalised_cross_entropy(first, second, temperature)
    assert torch.allclose(found, expected, rtol=1e-5)


def test_vectors_of_one_direction_tell_nothing_apart() -> None:
    same = functional.normalize(torch.ones(4, 8))
    found = contrast.normalised_cross_entropy(same, same, 0.2)
    assert float(found) == pytest.approx(float(torch.log(torch.tensor(7.0))))


def test_pairs_that_are_told_by_each_other_cost_little() -> None:
    apart = torch.eye(8)
    assert float(contrast.normalised_cross_entropy(apart, apart, 0.05)) < 1e-6
    assert float(contrast.normalised_cross_entropy(apart, apart.roll(1, 0), 0.05)) > 10


def test_where_precision_is_mixed_the_loss_is_still_that_of_float32() -> None:
    first, second = vectors(7, 0), vectors(7, 1)
    expected = contrast.normalised_cross_entropy(first, second, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        found = contrast.normalised_cross_entropy(first, second, 0.2)
    assert torch.equal(found, expected)


def test_where_precision_is_mixed_vectors_still_have_the_length_1_of_float32() -> None:
    recipe = quick.check(quick.PLAIN)
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = contrast.Projector(recipe, 8)(images)
    assert found.dtype == torch.float32
    assert torch.allclose(found.norm(dim=1), torch.ones(4), atol=1e-6)
