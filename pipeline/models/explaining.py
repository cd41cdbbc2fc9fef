"""Where in its input a network saw a label: maps by gradients, by layers, and by covering it up.

Grad-CAM and Grad-CAM++ are MONAI's; its occlusion indexes in a way that torch is about to read
otherwise. Hooks and gradients are put on a copy of the layers, which shares the weights: a network
that others use at the same time is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import torch
from monai.visualize.class_activation_maps import GradCAM, GradCAMpp, ModelWithHooks
from monai.visualize.visualizer import default_upsampler
from torch import Tensor, nn

from pipeline.asking import OF_A_LAYER, Explain, Method
from pipeline.errors import ModelMismatch
from pipeline.models import sliding
from pipeline.models.averaging import Averaged
from pipeline.models.beside import NOTHING
from pipeline.models.predictor import Checkpoint
from pipeline.models.sampling import shared_copy
from pipeline.networks.attention_mil import AttentionMIL

_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: points of the integral of gradients
STEPS: Final = 32
#: sides of the input by those of what is covered up, by the number of axes: 225 boxes of an image,
#: 343 of a volume; and by how much neighbours overlap
_COVERED: Final = {2: 8, 3: 4}
_OVERLAP: Final = 0.5
#: what is covered up at once
_BATCH: Final = 8

#: takes a network, one input (1, channels, *spatial), a label and a layer; returns (*spatial)
_Map: TypeAlias = Callable[[nn.Module, Tensor, int, str], Tensor]


def attends(network: nn.Module) -> bool:
    """Say whether a network weighs the slices of its input; an ensemble, its members."""
    return isinstance(_members(network)[0], AttentionMIL)


def layers(network: nn.Module) -> list[str]:
    """Return the names of all layers of a network; of an ensemble, those of one member."""
    return [name for name, _ in _members(network)[0].named_modules() if name]


def last_convolution(network: nn.Module) -> str | None:
    """Return the name of the last convolution, by the order in which a network was built."""
    named = _members(network)[0].named_modules()
    found = [name for name, layer in named if isinstance(layer, _CONVOLUTIONS)]
    return found[-1] if found else None


@dataclass(frozen=True, kw_only=True)
class Takes:
    """What belongs to a network: what it takes beside inputs, and how its logits are scores."""

    #: beside every input, (1, ...) by argument, on the device of the network; it is not explained
    beside: Mapping[str, Tensor] = field(default_factory=lambda: NOTHING)
    #: labels do not exclude each other: each has a sigmoid of its own, and there is no softmax
    are_apart: bool = False


def explain(
    network: nn.Module,
    inputs: Tensor,
    label: int,
    asked: Explain,
    *,
    checkpoint: Checkpoint,
    takes: Takes = Takes(),
) -> Tensor:
    """Return one map for each input.

    Args:
        network: in evaluation mode; of an ensemble the mean of the maps of its members.
        inputs: (frames, channels, *spatial) on the network's device.
        label: the output whose logit is explained.
        asked: grad-cam, grad-cam++: from 0 to 1, the highest of all frames. occlusion: by how much
            the score falls where zeros cover the image, 0 to 1; below 0 where it rises.
            integrated-gradients: of the logit, from an input of zeros: their sum is the logit less
            that of the zeros (Sundararajan et al., ICML 2017). feature-maps: the mean over the
            channels of the size of what the layer gives, in the network's own unit. attention: of
            each slice the weight that the network gives it; those of an input sum to 1.
        checkpoint: called before each pass through the network.
        takes: how the network is asked, and how its answer is taken.

    Returns:
        float32 on the CPU, (frames, *spatial).

    Raises:
        ModelMismatch: the network has no such layer, none that keeps places apart, or no attention.

    """
    make = _METHODS[asked.method]
    if asked.method == "occlusion" and takes.are_apart:
        make = _occlusion(torch.sigmoid)
    every = []
    with torch.inference_mode(mode=False), torch.enable_grad():
        # tensors made in inference mode cannot have gradients
        seen = inputs.clone()
        besides = {name: one.clone() for name, one in takes.beside.items()}
        for member in _members(network):
            prepared = _prepared(member, besides, checkpoint)
            layer = _layer(member, asked)
            found = [
                make(prepared, frame, label, layer).detach().float().cpu()
                for frame in torch.split(seen, 1)
            ]
            every.append(torch.stack(found))
    mean = torch.stack(every).mean(0)
    if not torch.isfinite(mean).all():
        raise ModelMismatch("the explanation holds values that are not finite")
    return mean / mean.max().clamp(min=_LEAST) if asked.method in _RELATIVE else mean


_RELATIVE: Final = frozenset({"grad-cam", "grad-cam++"})
_LEAST: Final = 1e-12


def _members(network: nn.Module) -> list[nn.Module]:
    if isinstance(network, Averaged):
        return list(network.members)
    return list(network) if isinstance(network, nn.ModuleList) else [network]


def _prepared(member: nn.Module, beside: Mapping[str, Tensor], checkpoint: Checkpoint) -> nn.Module:
    """Return a copy that takes images alone.

    It has no steps in place, which would overwrite what a hook has kept.
    """
    copied = shared_copy(member)

    def give(_: nn.Module, images: tuple[Tensor], others: dict[str, Any]) -> tuple[Any, Any]:
        checkpoint()
        count = len(images[0])
        return images, others | {name: one.expand(count, -1) for name, one in beside.items()}

    copied.register_forward_pre_hook(give, with_kwargs=True)
    for layer in copied.modules():
        if getattr(layer, "inplace", False):
            layer.inplace = False  # type: ignore[assignment]
    return copied


def _layer(member: nn.Module, asked: Explain) -> str:
    if asked.method not in OF_A_LAYER:
        return ""
    layer = asked.layer or last_convolution(member)
    if layer is None:
        raise ModelMismatch("the network has no convolution that could be explained")
    if layer not in layers(member):
        raise ModelMismatch(f"the network has no layer {layer}")
    return layer


def _activation_map(make: type[GradCAM]) -> _Map:
    def found(network: nn.Module, frame: Tensor, label: int, layer: str) -> Tensor:
        cam: Any = make(network, layer, upsampler=_laid_over, postprocessing=_as_it_is)
        # nothing else in an evaluated network asks for gradients
        return _in_place(lambda: cam(frame.requires_grad_(), class_idx=label), frame, layer)

    return found


def _feature_map(network: nn.Module, frame: Tensor, label: int, layer: str) -> Tensor:
    del label
    hooked: Any = ModelWithHooks(network, layer, register_forward=True)

    def make() -> Tensor:
        _, (kept,), _ = hooked(frame)
        return _laid_over(frame.shape[2:])(kept.abs().mean(1, keepdim=True))

    with torch.no_grad():
        return _in_place(make, frame, layer)


def _laid_over(shape: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Return what lays a map (1, 1, *of a layer) over an input: (1, 1, *shape).

    A network of sequences computes each frame by itself, so that its layers give a map (1, *plane)
    for each frame of the first axis.
    """

    def laid(values: Tensor) -> Tensor:
        frames, *plane = shape
        if values.shape[0] == frames and values.ndim == 2 + len(plane):
            return default_upsampler(plane)(values).transpose(0, 1)[None]
        return default_upsampler(shape)(values)

    return laid


def _in_place(make: Callable[[], Tensor], frame: Tensor, layer: str) -> Tensor:
    """Return a map (1, 1, *spatial) without its first axes.

    Raises:
        ModelMismatch: what the layer gives has no axes of space, or not those of the input.

    """
    try:
        found = make()
    except (ValueError, NotImplementedError, AttributeError) as error:
        sentence = f"layer {layer} gives nothing that lies in the image"
        raise ModelMismatch(sentence) from error
    if found.shape[2:] != frame.shape[2:]:
        raise ModelMismatch(f"layer {layer} gives nothing that lies in the image")
    return found[0, 0]


def _occlusion(scores_of: Callable[[Tensor], Tensor]) -> _Map:
    """Cover boxes up with zeros; a voxel has the mean of those that cover it.

    Zero is what lies below the window or in the background. A box of the image's mean would be
    something to see where the background is dark. ``scores_of``: logits (B, labels).
    """

    def found(network: nn.Module, frame: Tensor, label: int, layer: str) -> Tensor:
        del layer
        return _fallen(lambda seen: scores_of(network(seen).float())[:, label], frame)

    return found


def _fallen(score: Callable[[Tensor], Tensor], frame: Tensor) -> Tensor:
    """Return by how much a score (B,) of inputs falls where boxes of ``frame`` are covered up."""
    shape = tuple(frame.shape[2:])
    sides = [max(1, side // _COVERED[len(shape)]) for side in shape]
    boxes = sliding.lay(shape, sides, _OVERLAP)
    total, times = torch.zeros(shape), torch.zeros(shape)
    with torch.no_grad():
        whole = float(score(frame))
        for first in range(0, len(boxes), _BATCH):
            group = boxes[first : first + _BATCH]
            covered = frame.repeat(len(group), *[1] * (frame.ndim - 1))
            for image, box in zip(covered, group, strict=True):
                image[(slice(None), *box)] = 0.0
            for box, left in zip(group, score(covered).tolist(), strict=True):
                total[box] += whole - left
                times[box] += 1
    return total / times


def _integrated_gradients(network: nn.Module, frame: Tensor, label: int, layer: str) -> Tensor:
    """Sum gradients along the way from zeros to the input, at the middles of equal steps."""
    del layer
    total = torch.zeros_like(frame)
    for step in range(STEPS):
        point = (frame.detach() * ((step + 0.5) / STEPS)).requires_grad_()
        (gradient,) = torch.autograd.grad(network(point)[0, label], point)
        total += gradient
    return (total * frame.detach() / STEPS).sum(1)[0]


def _attention(network: nn.Module, frame: Tensor, label: int, layer: str) -> Tensor:
    """Spread the weight of each slice, along the first axis of space, over the slice."""
    del label, layer
    if not isinstance(network, AttentionMIL):
        raise ModelMismatch("the network gives its slices no attention")
    kept: list[Tensor] = []
    hook = network.pooling.register_forward_hook(lambda _, __, answer: kept.append(answer[1]))
    with torch.no_grad(), hook:
        network(frame)
    slices, *plane = frame.shape[2:]
    return kept[0].view(slices, *[1] * len(plane)).expand(slices, *plane)


def _as_it_is(values: Tensor) -> Tensor:
    return values


_METHODS: Final[Mapping[Method, _Map]] = {
    "grad-cam": _activation_map(GradCAM),
    "grad-cam++": _activation_map(GradCAMpp),
    "occlusion": _occlusion(partial(torch.softmax, dim=1)),
    "feature-maps": _feature_map,
    "integrated-gradients": _integrated_gradients,
    "attention": _attention,
}
