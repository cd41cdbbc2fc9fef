"""Training against attacks: each batch is learnt as it is and as it misleads the network most.

Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 6: both
losses have their share. Madry et al., ICLR 2018, is the share 1 with PGD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from pipeline.training import attacks
from pipeline.training.fields import AdversarialField
from pipeline.training.task import Loss
from pipeline.training.wrapping import Wrapping, total


@dataclass(frozen=True, kw_only=True)
class Adversarial(Wrapping):
    """Around a task whose batches are tuples that begin with the images."""

    wanted: AdversarialField

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        """Return the loss of the images as they are, and that of the images as attacked."""
        images, *truth = batch
        wanted = self.wanted
        with attacks.as_in_use(network):
            harder = attacks.attacked(
                images,
                lambda seen: total(self.inner.loss(network, (seen, *truth))),
                wanted,
                wanted.epsilon,
            )
        hard = total(self.inner.loss(network, (harder, *truth)))
        if wanted.share == 1:
            return {"attacked": hard}
        plain = total(self.inner.loss(network, batch))
        return {"plain": (1 - wanted.share) * plain, "attacked": wanted.share * hard}
