from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.adversarial import (
    LEAST_SQUARES,
    NON_SATURATING,
    Discriminator,
    Game,
    Generator,
    Losses,
    PatchJudge,
)
from pipeline.networks.edsr import EDSR
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

both = pytest.mark.parametrize("spatial_dims", [2, 3])
either = pytest.mark.parametrize("losses", [NON_SATURATING, LEAST_SQUARES])


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def generator(spatial_dims: int = 2, **changes: Any) -> Generator:
    stated = {"in_channels": 4, "out_channels": 1, "size": (8, 12, 4)[:spatial_dims]}
    return Generator(**{**stated, "spatial_dims": spatial_dims, "features": (8, 8), **changes})


def discriminator(spatial_dims: int = 2, **changes: Any) -> Discriminator:
    stated = {"in_channels": 1, "size": (8, 12, 4)[:spatial_dims], "features": (8, 8)}
    return Discriminator(**{"spatial_dims": spatial_dims, **stated, **changes})


def game(first: nn.Module, second: nn.Module, **changes: Any) -> Game:
    return Game(
        generator=first,
        discriminator=second,
        # the discriminator learns faster: what it says of the generator is then up to date
        generator_optimiser=torch.optim.Adam(first.parameters(), lr=0.005, betas=(0.5, 0.999)),
        discriminator_optimiser=torch.optim.Adam(second.parameters(), lr=0.02, betas=(0.5, 0.999)),
        **changes,
    )


@both
def test_images_of_the_stated_size_are_made_within_0_and_1(spatial_dims: int) -> None:
    images = generator(spatial_dims, out_channels=3)(100 * torch.randn(5, 4))
    assert images.shape == (5, 3, *(8, 12, 4)[:spatial_dims])
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0


@both
def test_an_image_is_judged_once_and_its_patches_each(spatial_dims: int) -> None:
    size = (8, 12, 16)[:spatial_dims]
    images = torch.rand(2, 1, *size)
    assert discriminator(spatial_dims, size=size)(images).shape == (2, 1)
    judge = PatchJudge(spatial_dims=spatial_dims, in_channels=1, features=4, halvings=1)
    # kernels of four voxels, padded by one: halved once, then twice one shorter
    assert judge(images).shape == (2, 1, *(extent // 2 - 2 for extent in size))


@both
def test_a_generator_learns_one_batch_by_heart(spatial_dims: int) -> None:
    network = generator(spatial_dims)
    truth = (torch.rand(4, 1, *(8, 12, 4)[:spatial_dims]) > 0.5).float() * 0.8
    assert_overfits(network, torch.randn(4, 4), truth, functional.mse_loss, below=0.05, rate=0.05)


@both
@pytest.mark.parametrize("is_by_patch", [True, False])
def test_a_judge_learns_one_batch_by_heart(spatial_dims: int, *, is_by_patch: bool) -> None:
    size = (8, 8, 8)[:spatial_dims]
    network: nn.Module = discriminator(spatial_dims, size=size)
    if is_by_patch:
        network = PatchJudge(spatial_dims=spatial_dims, in_channels=1, features=4, halvings=1)
    with torch.no_grad():
        shape = network(torch.rand(4, 1, *size)).shape
    truth = torch.tensor([0.0, 1.0, 0.0, 1.0]).view(-1, *[1] * (len(shape) - 1)).expand(shape)
    loss = functional.binary_cross_entropy_with_logits
    assert_overfits(network, torch.rand(4, 1, *size), truth, loss)


def test_float32_answers_as_float64() -> None:
    assert_same_in_double(generator(3), torch.randn(3, 4))
    assert_same_in_double(discriminator(3), torch.rand(3, 1, 8, 12, 4))
    judge = PatchJudge(spatial_dims=3, in_channels=1, features=4, halvings=1)
    assert_same_in_double(judge, torch.rand(3, 1, 8, 8, 8))


# a real image's logit is log 3, so that it is real by 3/4; a made one's is 0, by 1/2
REAL, MADE = torch.tensor([[math.log(3)]]), torch.tensor([[0.0]])


@pytest.mark.parametrize(
    ("losses", "judged", "fooled"),
    [
        (NON_SATURATING, -math.log(3 / 4) - math.log(1 / 2), -math.log(1 / 2)),
        (LEAST_SQUARES, (math.log(3) - 1) ** 2 / 2, 1 / 2),
    ],
)
def test_losses_are_those_worked_out_by_hand(losses: Losses, judged: float, fooled: float) -> None:
    assert losses.discriminator(REAL, MADE).item() == pytest.approx(judged)
    assert losses.generator(MADE).item() == pytest.approx(fooled)


@pytest.mark.parametrize(
    ("losses", "criterion", "weight"),
    [(NON_SATURATING, "bce", 1), (LEAST_SQUARES, "least_squares", 0.5)],
)
def test_losses_are_those_of_monai(losses: Losses, criterion: str, weight: float) -> None:
    theirs = PatchAdversarialLoss(criterion=criterion, no_activation_leastsq=True)
    real, made = torch.randn(2, 3, 1, 4, 4)
    expected = theirs(real, target_is_real=True, for_discriminator=True)
    expected = expected + theirs(made, target_is_real=False, for_discriminator=True)
    torch.testing.assert_close(losses.discriminator(real, made), weight * expected)
    expected = theirs(made, target_is_real=True, for_discriminator=False)
    torch.testing.assert_close(losses.generator(made), weight * expected)


def test_a_generator_that_fools_nobody_still_learns() -> None:
    hopeless = torch.tensor([-40.0], requires_grad=True)
    NON_SATURATING.generator(hopeless).backward()  # type: ignore[no-untyped-call]
    assert hopeless.grad is not None
    assert hopeless.grad.item() == pytest.approx(-1)


@pytest.mark.parametrize(("losses", "level"), [(NON_SATURATING, 0.2), (LEAST_SQUARES, 0.8)])
def test_what_is_made_comes_to_the_mean_of_what_is_real(losses: Losses, level: float) -> None:
    size, width = (4, 4), (8,)
    maker = generator(size=size, features=width)
    played = game(maker, discriminator(size=size, features=width), losses=losses)
    means = []
    for _ in range(80):
        played.step(torch.randn(32, 4), level + 0.05 * torch.randn(32, 1, *size))
        with torch.no_grad():
            means.append(maker(torch.randn(32, 4)).mean().item())
    assert abs(means[0] - level) > 0.25
    # the two go around the equilibrium, so it is their path's middle that lies there
    assert sum(means[40:]) / 40 == pytest.approx(level, abs=0.12)


def test_in_restoration_an_image_comes_closer_to_the_one_it_stands_for() -> None:
    sharp = torch.rand(2, 1, 8, 8).round()
    coarse = functional.avg_pool2d(sharp, 2)
    network = EDSR(spatial_dims=2, in_channels=1, out_channels=1, features=8, blocks=1)
    judge = PatchJudge(spatial_dims=2, in_channels=1, features=4, halvings=1)
    played = game(network, judge, fidelity=10.0)
    with torch.no_grad():
        before = functional.l1_loss(network(coarse), sharp)
    for _ in range(30):
        played.step(coarse, sharp)
    with torch.no_grad():
        assert functional.l1_loss(network(coarse), sharp) < 0.5 * before


@either
def test_a_step_says_what_the_losses_were_and_moves_both(losses: Losses) -> None:
    played = game(generator(), discriminator(), losses=losses, fidelity=2.0)
    latent, real = torch.randn(3, 4), torch.rand(3, 1, 8, 12)
    before = [one.clone() for one in _parameters(played)]
    made = played.generator(latent)
    expected = losses.discriminator(played.discriminator(real), played.discriminator(made))
    judged, fooled = played.step(latent, real)
    torch.testing.assert_close(judged, expected.detach())
    fidelity = 2 * functional.l1_loss(made, real)
    after = losses.generator(played.discriminator(made))
    torch.testing.assert_close(fooled, (after + fidelity).detach())
    assert not judged.requires_grad
    assert all(
        not torch.equal(old, new) for old, new in zip(before, _parameters(played), strict=True)
    )


def _parameters(played: Game) -> list[Tensor]:
    return [*played.generator.parameters(), *played.discriminator.parameters()]


@pytest.mark.parametrize(
    "changes", [{"size": (8, 10)}, {"size": (8,)}, {"size": (0, 8)}, {"features": ()}]
)
def test_sizes_that_cannot_be_halved_so_often_are_refused(changes: dict[str, Any]) -> None:
    for make in (generator, discriminator):
        with pytest.raises(ValueError, match="size needs 2 multiples"):
            make(**changes)
