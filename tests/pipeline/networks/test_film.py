from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.networks.film import FiLMNet, modulated
from pipeline.networks.trunk import trunk
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

#: of three values, every way to know some
KNOWN = torch.tensor([[bool(n & 1), bool(n & 2), bool(n & 4)] for n in range(8)])
VALUES = torch.randn(8, 3, generator=torch.Generator().manual_seed(2))


def small(spatial_dims: int = 2, **changes: Any) -> FiLMNet:
    torch.manual_seed(0)
    stated = {"spatial_dims": spatial_dims, "in_channels": 2, "out_channels": 2, "values": 3}
    return FiLMNet(**{**stated, "features": (8, 8), "hidden": 8, **changes})


def trained(spatial_dims: int = 2) -> FiLMNet:
    """Return a network that modulates, as one does after training."""
    network = small(spatial_dims)
    for parameter in network.modulations.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def images(count: int, *size: int) -> Tensor:
    return torch.rand((count, 2, *size), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(9, 6), (1, 1), (5, 6, 7)])
def test_one_logit_comes_for_each_class_at_any_size(size: tuple[int, ...]) -> None:
    with torch.no_grad():
        assert small(len(size), out_channels=4)(images(8, *size), VALUES, KNOWN).shape == (8, 4)


def test_scales_of_one_and_shifts_of_zero_leave_the_plain_trunk() -> None:
    network = small()
    plain = trunk(2, 2, (8, 8))
    plain.load_state_dict(network.trunk.state_dict())
    seen = images(8, 9, 8)
    with torch.no_grad():
        expected = network.head(plain(seen).flatten(2).mean(2))
        assert torch.equal(network(seen, VALUES, KNOWN), expected)


@pytest.mark.parametrize("size", [(4, 5), (2, 3, 4)])
def test_each_channel_has_its_own_scale_and_shift(size: tuple[int, ...]) -> None:
    features = images(3, *size)
    modulation = torch.randn(3, 4)
    answer = modulated(features, modulation)
    for case in range(3):
        for channel in range(2):
            scale, shift = 1 + modulation[case, channel], modulation[case, 2 + channel]
            expected = features[case, channel] * scale + shift
            torch.testing.assert_close(answer[case, channel], expected)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -1e30, 0.0])
def test_what_an_unknown_value_holds_does_not_change_a_bit(garbage: float) -> None:
    network, seen = trained(), images(8, 8, 8)
    with torch.no_grad():
        expected = network(seen, VALUES, KNOWN)
        assert torch.equal(network(seen, VALUES.masked_fill(~KNOWN, garbage), KNOWN), expected)
    assert expected.isfinite().all()


def test_every_value_that_is_known_counts_and_so_does_that_one_is_not() -> None:
    network, seen = trained(), images(1, 8, 8)
    values = torch.zeros(1, 3)
    with torch.no_grad():
        answers = [
            network(seen, values),
            network(seen, values, torch.zeros(1, 3, dtype=torch.bool)),
        ]
        answers += [network(seen, values + row) for row in torch.eye(3)]
    assert len({tuple(answer[0].tolist()) for answer in answers}) == 5


def test_without_a_table_nothing_is_known() -> None:
    network, seen = trained(), images(8, 8, 8)
    with torch.no_grad():
        unknown = network(seen, VALUES, torch.zeros(8, 3, dtype=torch.bool))
        assert torch.equal(network(seen), unknown)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_one_batch_whose_classes_the_table_alone_tells_apart_is_learned(spatial_dims: int) -> None:
    seen = images(1, *[8] * spatial_dims).repeat(8, *[1] * (spatial_dims + 1))
    truth = (VALUES[:, 1] > 0).long()
    assert truth.sum() not in (0, 8)
    assert_overfits(small(spatial_dims), (seen, VALUES), truth, nn.functional.cross_entropy)


def test_float32_answers_as_float64() -> None:
    assert_same_in_double(trained(3), (images(8, 6, 5, 4), VALUES, KNOWN))


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (VALUES[:, :2], KNOWN[:, :2]),
        (VALUES[:7], KNOWN[:7]),
        (VALUES, KNOWN[:, :2]),
        (VALUES, KNOWN.float()),
    ],
)
def test_values_of_another_form_are_refused(values: Tensor, known: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(8, 3\) values"):
        small()(images(8, 8, 8), values, known)


@pytest.mark.parametrize("changes", [{"values": 0}, {"features": ()}])
def test_sizes_without_meaning_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least"):
        small(**changes)
