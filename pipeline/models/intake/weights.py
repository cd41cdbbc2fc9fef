"""Weights as people bring them, a state dict or safetensors, to checked safetensors.

Runs in a process of its own (``child``): the bytes are a stranger's. A state dict is unpickled with
``weights_only``, which makes tensors and plain containers and calls nothing else.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.archive import ArchiveLimits
from pipeline.dicom.sources.archive_zip import ZipArchive
from pipeline.models import arrays
from pipeline.models.bundle import BundleRefused
from pipeline.models.intake import forms

#: keys under which training loops nest the state dict of the network, the likeliest first
_NESTED: Final = ("model", "state_dict", "network", "model_state_dict", "net")
#: what DistributedDataParallel and DataParallel put before every name
_WRAPPED: Final = "module."
_DTYPES: Final = frozenset(
    {torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.uint8}
    | {torch.int8, torch.int16, torch.int32, torch.int64}
)
_MOST_TENSORS: Final = 100_000
_LONGEST_NAME: Final = 500
_TOLD: Final = 5
_GLOBAL: Final = re.compile(r"GLOBAL ([\w.]{1,200})")
_CORRUPT: Final = "is no state dict that can be read, or is damaged"


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One file of weights to check, and where its safetensors go."""

    path: Path
    #: of the file in the bundle, for sentences
    name: str
    target: Path
    #: key of the file's mapping that holds the network's weights, as the configuration says it
    key: str | None
    #: that the tensors may take together
    largest_bytes: int
    #: whether it is no state dict but arrays that the configuration loads beside it
    is_aside: bool = False


def convert(errand: Errand) -> dict[str, list[int]]:
    """Check weights and write them as safetensors, or move them if they are.

    Returns:
        The shape of every tensor by its name.

    Raises:
        BundleRefused: the file is a program, asks for more than tensors, or holds values that are
            not finite.

    """
    if errand.path.suffix == ".safetensors":
        shapes = _check_safetensors(errand)
        errand.path.rename(errand.target)
        return shapes
    loaded = _unpickled(errand)
    header = {"format": "pt"}
    if errand.is_aside:
        state, were_arrays = arrays.named(loaded, errand.name)
        header |= were_arrays
    else:
        state = _state_dict(loaded, errand)
    _check(state.items(), errand)
    # clones: safetensors refuses tensors that share memory
    save_file(
        {name: value.detach().clone().contiguous() for name, value in state.items()},
        errand.target,
        metadata=header,
    )
    return {name: list(value.shape) for name, value in state.items()}


def _check_safetensors(errand: Errand) -> dict[str, list[int]]:
    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        with safe_open(errand.path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118, it is no mapping
                shapes[name] = list(file.get_slice(name).get_shape())
                yield name, file.get_tensor(name)

    shapes: dict[str, list[int]] = {}
    try:
        _check(tensors(), errand)
    except SafetensorError:
        raise BundleRefused(f"{errand.name} is not a safetensors file, or is damaged") from None
    return shapes


def _unpickled(errand: Errand) -> Any:
    """Read a file of ``torch.save``; tensors and plain containers only."""
    is_zip = _is_zip(errand.path)
    if is_zip:
        _check_archive(errand)
    try:
        allowed = torch.serialization.safe_globals(list(arrays.GLOBALS) if errand.is_aside else [])
        with warnings.catch_warnings(), allowed:
            warnings.simplefilter("ignore")
            return torch.load(errand.path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001
        # the edge between strange bytes and us: the unpickler raises whatever it meets
        asked = _GLOBAL.search(str(error))
        if asked is None:
            raise BundleRefused(f"{errand.name} {_CORRUPT}") from None
        sentence = f"{errand.name} asks for {asked[1]} when it is unpickled, and is refused"
        raise BundleRefused(f"{sentence}: {forms.STATE_DICT}") from None


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\3\4"


def _check_archive(errand: Errand) -> None:
    """Look at the members before torch does: which kind of archive it is, and that it is no bomb.

    Raises:
        BundleRefused: TorchScript, an exported program, or members that lie about themselves.

    """
    limits = ArchiveLimits(
        members=2 * _MOST_TENSORS,
        total_bytes=errand.largest_bytes,
        member_bytes=errand.largest_bytes,
        ratio=10,
    )
    try:
        entries = list(ZipArchive(errand.path, limits).entries())
    except (FileRefused, SourceRefused) as refused:
        raise BundleRefused(f"{errand.name} {_CORRUPT}: {refused.sentence}") from None
    # everything lies in one folder named after the file
    names = {entry.name.partition("/")[2] for entry in entries}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise BundleRefused(f"{errand.name} {forms.TORCHSCRIPT}")
    if "archive_format" in names:
        raise BundleRefused(f"{errand.name} {forms.EXPORTED}")
    refused_ones = [entry.refused[1] for entry in entries if entry.refused]
    if refused_ones:
        raise BundleRefused(f"{errand.name} {_CORRUPT}: {refused_ones[0]}")


def _state_dict(loaded: Any, errand: Errand) -> dict[str, torch.Tensor]:
    """Find the network's state dict in what a file holds, as MONAI's loader does.

    Raises:
        BundleRefused: there is none, or it holds more than tensors.

    """
    if isinstance(loaded, Mapping) and not _holds_tensors(loaded):
        keys = [key for key in (errand.key, *_NESTED) if key is not None and key in loaded]
        loaded = loaded[keys[0]] if keys else loaded
    if not isinstance(loaded, Mapping) or not _holds_tensors(loaded):
        raise BundleRefused(f"{errand.name} holds no state dict: {forms.STATE_DICT}")
    strange = [key for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if strange or not all(isinstance(key, str) for key in loaded):
        raise BundleRefused(f"{errand.name} holds more than tensors by name: {forms.STATE_DICT}")
    if all(name.startswith(_WRAPPED) for name in loaded):
        return {name.removeprefix(_WRAPPED): value for name, value in loaded.items()}
    return dict(loaded)


def _holds_tensors(mapping: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in mapping.values())


def _check(tensors: Iterator[tuple[str, torch.Tensor]] | Any, errand: Errand) -> None:
    """Check one tensor after the other, so that only one of a file is in memory at a time.

    Raises:
        BundleRefused: lists the first few that are not dense, finite numbers.

    """
    found: list[str] = []
    count = size = 0
    for name, value in tensors:
        count, size = count + 1, size + value.numel() * value.element_size()
        if count > _MOST_TENSORS or size > errand.largest_bytes:
            raise BundleRefused(f"{errand.name} holds more tensors or bytes than are allowed")
        if fault := _fault(name, value):
            found.append(f"{errand.name}: {fault}")
    if not count:
        found.append(f"{errand.name} holds no tensor")
    if found:
        more = [f"and {len(found) - _TOLD} more like these"] if len(found) > _TOLD else []
        raise BundleRefused(found[:_TOLD] + more)


def _fault(name: str, value: torch.Tensor) -> str | None:
    if not 1 <= len(name) <= _LONGEST_NAME or name == "__metadata__":
        return "a tensor has no name, or one that is too long or reserved"
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return f"{name} is no dense tensor"
    if value.dtype not in _DTYPES:
        return f"{name} is of type {value.dtype}, which is not read"
    # ``view`` of bytes is not needed: integers and booleans are always finite
    if value.is_floating_point() and not torch.isfinite(value).all():
        return f"{name} holds values that are not finite"
    return None
