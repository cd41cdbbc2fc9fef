"""The last feature map of a network that answers for whole images: what its encoder makes of one.

Found by looking: it is what goes into the last layer that pools places, or, where none does, what
comes of the last convolution or of the norm behind it. A transformer knows places as items of a
sequence; its map is what comes of the last norm behind its convolution, put back in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

_CONVOLVING: Final = (
    nn.Conv2d,
    nn.Conv3d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
)


class NoFeatureMap(ValueError):
    """A network without a feature map that comes of most of its weights."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the last feature map is to be had."""

    layer: nn.Module
    #: the map goes into this layer; else it comes out of it
    is_input: bool
    #: of the map of one image, (features, *coarse)
    shape: tuple[int, ...]

    def map_of(self, found: Tensor) -> Tensor:
        """Return what was found there as (B, features, *coarse).

        A sequence is (B, items, features); an item for the whole image comes before all others.
        """
        if found.ndim == len(self.shape) + 1:
            return found
        items = found[:, -math.prod(self.shape[1:]) :]
        return items.transpose(1, 2).reshape(len(found), *self.shape)


class LastMap:
    """Asks a network for its last feature map, (B, features, *coarse).

    Args:
        network: answers for whole images.
        shape: of one input, (channels, *size).

    Raises:
        NoFeatureMap: there is none, or most weights have no part in it.

    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        self._network = network
        self._found: Tensor | None = None
        self._place = _last(network, shape)
        if self._place.is_input:
            self._place.layer.register_forward_pre_hook(lambda _, inputs: self._keep(inputs[0]))
        else:
            self._place.layer.register_forward_hook(lambda _, __, answer: self._keep(answer))
        self._require_most_weights(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the map of one image, (features, *coarse)."""
        return self._place.shape

    def __call__(self, images: Tensor) -> Tensor:
        """Return the feature map of images (B, channels, *size)."""
        self._network(images)
        found, self._found = self._found, None
        if found is None:
            message = "the layer of the feature map was not asked"
            raise NoFeatureMap(message)
        return self._place.map_of(found)

    def _keep(self, found: Tensor) -> None:
        self._found = found

    def _require_most_weights(self, shape: Sequence[int]) -> None:
        _answer(self._network, shape)
        weights = [weight for weight in self._network.parameters() if weight.requires_grad]
        found, self._found = self._found, None
        if found is None or not weights:
            raise NoFeatureMap("this network learns nothing")
        reached = torch.autograd.grad(found.sum(), weights, allow_unused=True)
        pairs = zip(weights, reached, strict=True)
        have = sum(weight.numel() for weight, uphill in pairs if uphill is not None)
        if 2 * have < sum(weight.numel() for weight in weights):
            raise NoFeatureMap("most weights of this network have no part in its feature maps")


def _last(network: nn.Module, shape: Sequence[int]) -> _Place:
    """Return where the last feature map is, having looked at each layer's input and answer."""
    pooled: list[_Place] = []
    learnt: list[_Place] = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
        before, after = _map_shape(inputs[0], len(shape)), _map_shape(answer, len(shape))
        if after is not None and isinstance(layer, _CONVOLVING):
            learnt.append(_Place(layer=layer, is_input=False, shape=after))
        elif before is not None and after is None and answer.numel() < inputs[0].numel():
            pooled.append(_Place(layer=layer, is_input=True, shape=before))
        elif isinstance(layer, nn.LayerNorm) and learnt:
            coarse = learnt[-1].shape[1:]
            if answer.ndim == 3 and answer.shape[1] - math.prod(coarse) in (0, 1):
                items = (answer.shape[2], *coarse)
                learnt.append(_Place(layer=layer, is_input=False, shape=items))

    leaves = [layer for layer in network.modules() if not [*layer.children()]]
    handles = [layer.register_forward_hook(look) for layer in leaves]
    _answer(network, shape)
    for handle in handles:
        handle.remove()
    found = pooled or learnt
    if not found:
        raise NoFeatureMap("no layer of this network tells places apart")
    return found[-1]


def _map_shape(value: object, axes: int) -> tuple[int, ...] | None:
    """Return the shape (features, *coarse) of a map with so many axes that tells places apart."""
    if not isinstance(value, Tensor) or value.ndim != axes + 1:
        return None
    return tuple(value.shape[1:]) if value[0, 0].numel() > 1 else None


def _answer(network: nn.Module, shape: Sequence[int]) -> None:
    """Ask about an image of zeros, as in use, so that no statistics of batches change."""
    was_training = network.training
    network.eval()
    with torch.enable_grad():
        network(torch.zeros(1, *shape))
    network.train(was_training)
