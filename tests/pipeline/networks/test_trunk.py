from __future__ import annotations

import pytest
import torch

from pipeline.networks.trunk import convolution, trunk


@pytest.mark.parametrize("size", [(9, 16), (1, 2), (5, 4, 7)])
def test_every_convolution_halves_the_sides_and_rounds_up(size: tuple[int, ...]) -> None:
    answer = trunk(len(size), 2, (4, 8))(torch.randn(3, 2, *size))
    assert tuple(answer.shape) == (3, 8, *(-(-extent // 4) for extent in size))


def test_images_of_a_batch_do_not_see_each_other_in_training_either() -> None:
    torch.manual_seed(0)
    network = trunk(2, 1, (4, 8)).train()
    images = torch.randn(3, 1, 12, 12)
    together = network(images)
    torch.testing.assert_close(together[1:2], network(images[1:2]), atol=1e-6, rtol=1e-5)


def test_widths_without_a_common_number_of_groups_are_normalised_as_a_whole() -> None:
    answer = convolution(2, 1, 7)(torch.randn(2, 1, 6, 6))
    assert answer.shape == (2, 7, 6, 6)


def test_a_trunk_without_features_is_refused() -> None:
    with pytest.raises(ValueError, match="a width at least"):
        trunk(2, 1, ())
