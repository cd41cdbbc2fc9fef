"""What a MONAI configuration says in plain values, found by following references alone.

Enough to know which file holds the weights and what the network is told; nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from pipeline.config import ids
from pipeline.config.document import Document
from pipeline.models.intake.monai import Port

_LONGEST: Final = 16
_WEIGHTS_FILE: Final = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(?:safetensors|pth?|ckpt|bin|ts)\b"
)
#: how a configuration loads a file by itself
_LOADED: Final = re.compile(r"\btorch\.load\(\s*@([\w:#]+)")
_NETWORKS: Final = ("network_def", "network", "net", "model")
_SPATIAL: Final = ("spatial_dims", "dimensions")
_INPUTS: Final = ("in_channels", "n_input_channels", "num_input_channels")
_OUTPUTS: Final = ("out_channels", "num_classes", "n_classes")


def value_at(document: Document, value: Any) -> Any:
    """Return what a reference leads to, through as many as there are; other values as they are."""
    for _ in range(_LONGEST):
        if not isinstance(value, str):
            return value
        reference = value.removeprefix(ids.EXPRESSION).strip()
        if not ids.is_reference(reference):
            return value
        value = document.get(ids.referred(reference))
    return None


def text_at(document: Document, name: str) -> str | None:
    """Return the plain text at an id, None where there is something else."""
    value = value_at(document, document.get(name))
    is_plain = isinstance(value, str) and value[:1] not in (ids.EXPRESSION, ids.MACRO)
    return value if is_plain else None


def loaders(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield the items that load weights, ``CheckpointLoader``."""
    for item in document.items.values():
        if isinstance(item, Mapping):
            target = item.get("_target_")
            if isinstance(target, str) and target.rpartition(".")[2] == "CheckpointLoader":
                yield item


def weights_file(document: Document) -> str | None:
    """Return the file name that the configuration loads its weights from, None where it says none.

    ``"$@bundle_root + '/models/model.pt'"`` and the like name it literally; the folder is ours.
    """
    for loader in loaders(document):
        said = value_at(document, loader.get("load_path"))
        if isinstance(said, str) and (named := _WEIGHTS_FILE.findall(said)):
            return str(named[-1])
    return None


def loaded_files(document: Document) -> list[str]:
    """Return the names of the files that expressions load by ``torch.load``, without folders."""
    found = []
    for item in document.items.values():
        for reference in _LOADED.findall(item) if isinstance(item, str) else ():
            said = value_at(document, document.get(reference))
            named = _WEIGHTS_FILE.findall(said) if isinstance(said, str) else []
            found += [str(name) for name in named[-1:]]
    return list(dict.fromkeys(found))


def weights_key(document: Document) -> str | None:
    """Return the key of the file's mapping that holds the network's weights, if one is said."""
    for loader in loaders(document):
        loaded = loader.get("load_dict")
        if isinstance(loaded, Mapping) and len(loaded) == 1:
            return str(next(iter(loaded)))
    return None


def several_networks(document: Document) -> list[str]:
    """Say so where a configuration loads the weights of more than one network."""
    files = {str(loader.get("load_path")) for loader in loaders(document)}
    loads = [loader.get("load_dict") for loader in loaders(document)]
    if len(files) > 1 or any(isinstance(one, Mapping) and len(one) > 1 for one in loads):
        return ["the configuration loads the weights of several networks; one is run here"]
    return []


def contradictions(document: Document, given: Port, outputs: Collection[int]) -> list[str]:
    """Compare the metadata with what the configuration tells its network, where that is plain.

    Args:
        document: the configuration.
        given: the input as the metadata states it.
        outputs: the numbers of output channels that the labels allow; empty = any.

    """
    network = next((one for name in _NETWORKS if (one := _network(document, name))), {})
    found = []
    for names, allowed, what in (
        (_SPATIAL, {len(given.spatial_shape)}, "spatial axes of the input"),
        (_INPUTS, {given.num_channels}, "channels of the input"),
        (_OUTPUTS, set(outputs), "labels"),
    ):
        for name in names:
            said = value_at(document, network.get(name))
            if type(said) is int and allowed and said not in allowed:
                expected = " or ".join(map(str, sorted(allowed)))
                sentence = f"the network has {name} {said}, the {what} in the metadata ask for "
                found.append(sentence + expected)
    return found


def _network(document: Document, name: str) -> Mapping[str, Any] | None:
    value = value_at(document, document.get(name))
    return value if isinstance(value, Mapping) and "_target_" in value else None
