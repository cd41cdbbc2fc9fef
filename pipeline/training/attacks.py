"""Attacks: changes of an input, too small to be seen, that make a network err as far as they can.

Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015 (FGSM); Madry et al.,
"Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018 (PGD).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from pipeline.training.fields import AttackField

#: PGD's steps together go this much farther than it may move: it can reach any corner
_REACH: Final = 2.5


def attacked(
    images: Tensor,
    loss: Callable[[Tensor], Tensor],
    attack: AttackField,
    epsilon: float,
    random: torch.Generator | None = None,
) -> Tensor:
    """Return the images, changed so that the loss rises.

    Args:
        images: float32, 0 to 1, any shape; with ``epsilon`` 0 they come back as they are.
        loss: of such images, a scalar.
        attack: by which method.
        epsilon: the most that a value changes. None leaves 0 to 1 that was within it.
        random: of PGD's start; None = torch's own.

    """
    if epsilon == 0:
        return images
    moved, step = images.detach(), epsilon
    if attack.method == "pgd":
        noise = torch.rand(images.shape, generator=random).to(images)
        moved = _within(moved + epsilon * (2 * noise - 1), images, epsilon)
        step = _REACH * epsilon / attack.steps
    for _ in range(attack.steps if attack.method == "pgd" else 1):
        moved = moved.detach().requires_grad_()
        (uphill,) = torch.autograd.grad(loss(moved), moved)
        moved = _within(moved + step * uphill.sign(), images, epsilon)
    return moved.detach()


@contextmanager
def as_in_use(network: nn.Module) -> Iterator[None]:
    """Attack the network as it answers later: no dropout, statistics of batches left alone."""
    was_training = {module: module.training for module in network.modules()}
    use(network)
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training


def use(network: nn.Module) -> None:
    """Set a network to answer as it does later, where gradients are asked of its answers.

    Layers that go through a sequence stay in training, of which cuDNN alone gives gradients; those
    of our networks answer alike in both.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.RNNBase):
            module.train()


def _within(moved: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """Return the nearest to what was reached that is an image and near enough to the first."""
    near = moved.clamp(0, 1).detach()
    return torch.minimum(torch.maximum(near, images - epsilon), images + epsilon)
