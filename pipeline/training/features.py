"""The last feature map of a network that answers for whole images: what its encoder makes of one.

Found by looking: it is what goes into the last layer that pools places, or, where none does, what
comes of the last convolution or of the norm behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class LastMap:
    """Asks a network for its last feature map, (B, features, *coarse).

    Args:
        network: answers for whole images.
        shape: of one input, (channels, *size).

    Raises:
        NoFeatureMap: there is none, or most weights have no part in it, as those of transformers,
            which know places as items of a sequence.

    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        #: (features, *coarse)
        self.shape: tuple[int, ...]
        self._network = network
        self._found: Tensor | None = None
        layer, is_input, self.shape = _last(network, shape)
        if is_input:
            layer.register_forward_pre_hook(lambda _, inputs: self._keep(inputs[0]))
        else:
            layer.register_forward_hook(lambda _, __, answer: self._keep(answer))
        self._require_most_weights(shape)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the feature map of images (B, channels, *size)."""
        self._network(images)
        found, self._found = self._found, None
        if found is None:
            message = "the layer of the feature map was not asked"
            raise NoFeatureMap(message)
        return found

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


def _last(network: nn.Module, shape: Sequence[int]) -> tuple[nn.Module, bool, tuple[int, ...]]:
    """Return the layer whose input (or answer) is the last feature map, and the map's shape."""
    pooled: list[tuple[nn.Module, bool, tuple[int, ...]]] = []
    convolved: list[tuple[nn.Module, bool, tuple[int, ...]]] = []

    def shape_of_map(value: object) -> tuple[int, ...] | None:
        if not isinstance(value, Tensor) or value.ndim != len(shape) + 1:
            return None
        return tuple(value.shape[1:]) if value[0, 0].numel() > 1 else None

    def look(layer: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
        before, after = shape_of_map(inputs[0]), shape_of_map(answer)
        if after is not None and isinstance(layer, _CONVOLVING):
            convolved.append((layer, False, after))
        elif before is not None and after is None and answer.numel() < inputs[0].numel():
            pooled.append((layer, True, before))

    leaves = [layer for layer in network.modules() if not [*layer.children()]]
    handles = [layer.register_forward_hook(look) for layer in leaves]
    _answer(network, shape)
    for handle in handles:
        handle.remove()
    found = pooled or convolved
    if not found:
        raise NoFeatureMap("no layer of this network tells places apart")
    return found[-1]


def _answer(network: nn.Module, shape: Sequence[int]) -> None:
    """Ask about an image of zeros, as in use, so that no statistics of batches change."""
    was_training = network.training
    network.eval()
    with torch.enable_grad():
        network(torch.zeros(1, *shape))
    network.train(was_training)
