"""Early, late and joint fusion of several series, some of which are missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.networks.early_fusion import EarlyFusion
from pipeline.networks.joint_fusion import JointFusion
from pipeline.networks.late_fusion import LateFusion
from pipeline.networks.presence import shares
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

Make = Callable[..., nn.Module]
ALL: dict[str, Make] = {
    "early": EarlyFusion,
    "late, learned": partial(LateFusion, weighting="learned"),
    "late, equal": partial(LateFusion, weighting="equal"),
    "joint, attention": partial(JointFusion, pooling="attention", hidden=8),
    "joint, mean": partial(JointFusion, pooling="mean", hidden=8),
}
each = pytest.mark.parametrize("name", ALL)
#: of three series, every way to have one at least
PRESENT = torch.tensor([[bool(n & 1), bool(n & 2), bool(n & 4)] for n in range(1, 8)])


def small(name: str, spatial_dims: int = 2, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    stated = {"spatial_dims": spatial_dims, "in_channels": 3, "out_channels": 2}
    network = ALL[name](**{**stated, "features": (8, 8), **changes})
    for parameter in network.parameters():
        # fresh weights leave shares equal and biases small; these are what a training may come to
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def series(count: int, *size: int) -> Tensor:
    return torch.rand((count, 3, *size), generator=torch.Generator().manual_seed(1))


@each
@pytest.mark.parametrize("size", [(9, 6), (1, 1), (5, 6, 7)])
def test_one_logit_comes_for_each_class_at_any_size(name: str, size: tuple[int, ...]) -> None:
    network = small(name, len(size), out_channels=4)
    with torch.no_grad():
        assert network(series(2, *size)).shape == (2, 4)


@each
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -1e30, 0.0])
@pytest.mark.parametrize("is_training", [True, False])
def test_what_a_missing_series_holds_does_not_change_a_bit(
    name: str, garbage: float, *, is_training: bool
) -> None:
    network = small(name).train(is_training)
    images = series(len(PRESENT), 8, 8)
    replaced = images.masked_fill(~PRESENT[..., None, None], garbage)
    with torch.no_grad():
        expected = network(images, PRESENT)
        assert torch.equal(network(replaced, PRESENT), expected)
    assert expected.isfinite().all()


@each
def test_gradients_stay_finite_whatever_a_missing_series_holds(name: str) -> None:
    network = small(name)
    images = series(len(PRESENT), 8, 8).masked_fill(~PRESENT[..., None, None], float("nan"))
    network(images, PRESENT).square().sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in network.parameters())


@each
def test_a_series_that_is_there_counts(name: str) -> None:
    network = small(name)
    images = series(1, 8, 8)
    with torch.no_grad():
        before = network(images)
        for number in range(3):
            changed = images.clone()
            changed[:, number] = changed[:, number].square()
            assert not torch.allclose(network(changed), before, atol=1e-6)


@each
def test_that_a_series_is_missing_counts_also_where_it_would_be_black(name: str) -> None:
    network = small(name)
    images = series(1, 8, 8)
    images[:, 1] = 0
    with torch.no_grad():
        without = network(images, torch.tensor([[True, False, True]]))
        assert not torch.allclose(network(images), without, atol=1e-6)


@each
def test_without_a_word_all_series_are_there(name: str) -> None:
    network = small(name)
    images = series(2, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(images), network(images, torch.ones(2, 3, dtype=torch.bool)))


@each
def test_what_a_neighbour_in_the_batch_lacks_does_not_matter(name: str) -> None:
    network = small(name)
    images = series(len(PRESENT), 8, 8)
    with torch.no_grad():
        together = network(images, PRESENT)
        alone = [network(images[n : n + 1], PRESENT[n : n + 1]) for n in range(len(PRESENT))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=1e-5)


@each
def test_an_image_without_any_series_is_refused(name: str) -> None:
    present = PRESENT[:2].clone()
    present[1] = False
    with pytest.raises(ValueError, match="no series at all"):
        small(name)(series(2, 8, 8), present)


@each
@pytest.mark.parametrize("present", [torch.ones(2, 3), torch.ones(2, 2, dtype=torch.bool)])
def test_a_mask_of_another_form_is_refused(name: str, present: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) truth values"):
        small(name)(series(2, 8, 8), present)


@each
@pytest.mark.parametrize(("spatial_dims", "extent"), [(2, 8), (3, 6)])
def test_one_batch_is_learned_by_heart(name: str, spatial_dims: int, extent: int) -> None:
    """The class is whether a bright stripe lies in the first half; only one series shows it."""
    images = 0.1 * series(6, *[extent] * spatial_dims)
    truth = torch.tensor([0, 1] * 3)
    for case, label in enumerate(truth):
        images[case, case % 3, label * extent // 2] += 1
    present = torch.eye(3, dtype=torch.bool).repeat(2, 1)
    inputs = (images.masked_fill(~present.view(6, 3, *[1] * spatial_dims), float("nan")), present)
    assert_overfits(small(name, spatial_dims), inputs, truth, nn.functional.cross_entropy)


@each
def test_float32_answers_as_float64(name: str) -> None:
    assert_same_in_double(small(name, 3), (series(len(PRESENT), 6, 5, 4), PRESENT))


def test_shares_are_those_of_the_series_that_are_there() -> None:
    scores = torch.tensor([2.0, 1.0, 5.0]).log()
    present = torch.tensor([[True, True, True], [True, True, False], [False, True, False]])
    expected = torch.tensor([[2, 1, 5], [2, 1, 0], [0, 1, 0]]) / torch.tensor([[8], [3], [1]])
    torch.testing.assert_close(shares(scores, present), expected)


@pytest.mark.parametrize("weighting", ["equal", "learned"])
def test_late_fusion_is_the_weighted_mean_of_what_each_series_says_alone(weighting: str) -> None:
    network = small("late, learned", weighting=weighting)
    assert isinstance(network, LateFusion)
    images = series(2, 8, 8)
    assert (network.scores is None) == (weighting == "equal")
    scores = torch.zeros(3) if network.scores is None else network.scores
    expected = torch.zeros(2, 2)
    with torch.no_grad():
        for number, share in enumerate(scores.softmax(0)):
            alone = torch.zeros(2, 3, dtype=torch.bool)
            alone[:, number] = True
            expected += share * network(images, alone)
        torch.testing.assert_close(network(images), expected)


def test_joint_fusion_by_the_mean_reads_the_mean_of_the_vectors_that_are_there() -> None:
    network = small("joint, mean")
    assert isinstance(network, JointFusion)
    images = series(1, 8, 8)
    with torch.no_grad():
        first, _, third = network.encoders(images)[0]
        expected = network.head((first + third) / 2)
        torch.testing.assert_close(
            network(images, torch.tensor([[True, False, True]]))[0], expected
        )


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        *((name, {"features": ()}, "a width at least") for name in ("early", "late, equal")),
        ("late, equal", {"weighting": "some"}, "equal or learned"),
        ("joint, mean", {"pooling": "max"}, "mean or attention"),
    ],
)
def test_arguments_without_meaning_are_refused(
    name: str, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        small(name, **changes)
