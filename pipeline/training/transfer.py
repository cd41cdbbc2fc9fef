"""Transfer learning: a network begins with weights that were learnt elsewhere.

What has the same name and the same shape is taken over. The first layer is adapted to another
number of channels; a last layer for other classes begins afresh. Parts may be frozen, for some
epochs or for all, and their batch statistics with them. No code in a file of weights runs.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import TrainingRefused
from pipeline.models import bundle
from pipeline.models.bundle import BundleRefused
from pipeline.reasons import Reason
from pipeline.training.fields import TransferField
from pipeline.training.manifest import content_digest
from pipeline.training.wrapping import Wrapping

#: where files of torch.save keep weights among other things
_INSIDE: Final = ("state_dict", "model", "model_state_dict", "network")
#: what files are refused with by those who read them
_UNREADABLE: Final = (
    OSError,
    SafetensorError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Weights from elsewhere."""

    #: as the recipe names it
    name: str
    #: sha256 of the bundle or of the file
    digest: str
    weights: Mapping[str, Tensor] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What of a network came from a source: names of weights and buffers."""

    source: str
    digest: str
    weights: Mapping[str, Tensor] = field(repr=False)
    #: among them: of another number of channels there
    adapted: tuple[str, ...]
    #: begun afresh: not in the source, of another shape there, or reset
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        """Say in a sentence what was begun with."""
        return (
            f"Begun with {len(self.weights)} weights of {self.source} (sha256 {self.digest[:12]}), "
            f"{len(self.adapted)} of them adapted to other channels; {len(self.fresh)} are fresh."
        )

    def report(self) -> dict[str, Any]:
        """Return JSON values for the progress and for the card."""
        return {
            "source": self.source,
            "digest": self.digest,
            "taken": len(self.weights),
            "adapted": list(self.adapted),
            "fresh": list(self.fresh),
        }


@dataclass(frozen=True, kw_only=True)
class Transferred(Wrapping):
    """Around a task: its network begins with what was taken, and frozen parts stay so."""

    wanted: TransferField
    taken: Taken

    def network(self) -> nn.Module:
        """Return the network with the weights from elsewhere; the rest is fresh."""
        network = self.inner.network()
        network.load_state_dict({**network.state_dict(), **self.taken.weights})
        return network

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Freeze what is frozen in this epoch, and thaw the rest."""
        super().begin_epoch(network, epoch)
        frozen = [
            one.part for one in self.wanted.frozen if one.epochs is None or epoch < one.epochs
        ]
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not _belongs(name, frozen))
        for name, module in network.named_modules():
            if _belongs(name, frozen):
                module.eval()


def find(wanted: TransferField, registered: Mapping[str, str], folder: Path) -> Source:
    """Read the source that a recipe names.

    Args:
        wanted: what the recipe asks for.
        registered: the folders of bundles by ``name@version``, as far as they were looked up.
        folder: of the manifest, where files of weights lie.

    Raises:
        TrainingRefused: as ``open_source``; or there is no such model.

    """
    place = registered.get(wanted.source)
    if place is None and "@" in wanted.source:
        raise _refusal(wanted.source, "no model of this name and version is registered")
    return open_source(wanted.source, folder / wanted.source if place is None else Path(place))


def open_source(name: str, path: Path) -> Source:
    """Read the weights of a bundle (a folder), of a safetensors file or of one by torch.save.

    Raises:
        TrainingRefused: there is none, it cannot be read without running code, or it holds no
            weights or such as are not finite.

    """
    try:
        weights, digest = _read(path)
    except BundleRefused as refused:
        raise _refusal(name, refused.sentence) from refused
    except _UNREADABLE as why:
        raise _refusal(name, "it cannot be read as weights") from why
    if not weights:
        raise _refusal(name, "it holds no weights")
    if not all(torch.isfinite(one).all() for one in weights.values()):
        raise _refusal(name, "it holds values that are not finite")
    return Source(name=name, digest=digest, weights=weights)


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    if path.is_dir():
        loaded = bundle.load(path)
        if loaded.weights is None:
            raise BundleRefused("the model has no weights")
        return load_file(loaded.weights), loaded.digest
    if path.suffix == ".safetensors":
        return load_file(path), content_digest([path])
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        return {}, ""
    inside = next((one for key in _INSIDE if isinstance(one := content.get(key), Mapping)), content)
    weights = {name: one for name, one in inside.items() if isinstance(one, Tensor)}
    return weights, content_digest([path])


def take(source: Source, network: nn.Module, wanted: TransferField, *, channels: int) -> Taken:
    """Choose what a network takes over.

    Args:
        source: the weights.
        network: that of the recipe, with fresh weights.
        wanted: what the recipe asks for.
        channels: of the network's input: only a layer that reads these is adapted.

    Raises:
        TrainingRefused: nothing fits; or a frozen part is not there, is everything, or does not
            come from the source as a whole.

    """
    there = {_renamed(name, wanted.rename): one for name, one in source.weights.items()}
    taken: dict[str, Tensor] = {}
    adapted, fresh = [], []
    for name, here in network.state_dict().items():
        found = None if _belongs(name, wanted.reset) else there.get(name)
        if found is not None and found.shape == here.shape:
            taken[name] = found.to(here.dtype)
        elif found is not None and _differs_in_channels(found, here, channels):
            taken[name] = with_channels(found, channels).to(here.dtype)
            adapted.append(name)
        else:
            fresh.append(name)
    parameters = {name for name, _ in network.named_parameters()}
    if not parameters & set(taken):
        raise _refusal(source.name, "none of its weights has the name and the shape of one here")
    _check_frozen(source, wanted, parameters, fresh)
    return Taken(
        source=source.name,
        digest=source.digest,
        weights=taken,
        adapted=tuple(adapted),
        fresh=tuple(fresh),
    )


def with_channels(weights: Tensor, channels: int) -> Tensor:
    """Adapt the first layer (out, channels there, *kernel) to another number of channels.

    Each channel gets the same share of the sum over those there, so that the layer answers to a
    grey image as it did to one whose channels were all that grey.
    """
    summed = weights.sum(1, keepdim=True) / channels
    return summed.expand(-1, channels, *weights.shape[2:]).contiguous()


def _differs_in_channels(there: Tensor, here: Tensor, channels: int) -> bool:
    return (
        here.ndim == there.ndim >= 3
        and here.shape[1] == channels
        and here.shape[0] == there.shape[0]
        and here.shape[2:] == there.shape[2:]
    )


def _check_frozen(
    source: Source, wanted: TransferField, parameters: set[str], fresh: Iterable[str]
) -> None:
    parts = [one.part for one in wanted.frozen]
    for part in parts:
        if not any(_belongs(name, [part]) for name in parameters):
            raise _refusal(source.name, f"the network has no part {part} to freeze")
        left = [name for name in fresh if _belongs(name, [part])]
        if left:
            raise _refusal(source.name, f"{part} cannot be frozen: {left[0]} begins afresh")
    if all(_belongs(name, parts) for name in parameters):
        raise _refusal(source.name, "everything is frozen; nothing would be learnt")


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    found = max((start for start in rename if name.startswith(start)), key=len, default="")
    return rename.get(found, found) + name.removeprefix(found)


def _belongs(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _refusal(name: str, sentence: str) -> TrainingRefused:
    return TrainingRefused(f"transfer.source {name}: {sentence}", Reason.TRAINING_RECIPE_INVALID)
