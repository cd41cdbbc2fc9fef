"""Which file of a bundle holds the weights of its network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from pipeline.models.bundle import WEIGHTS
from pipeline.models.intake import forms, onnx
from pipeline.models.intake.brought import Brought
from pipeline.models.intake.forms import Fate
from pipeline.models.intake.large_files import LargeFiles

_FOLDER: Final = PurePosixPath("models")
_USUAL: Final = f"{_FOLDER}/model.pt"
#: how many exports are named where there are no weights
_TOLD: Final = 5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The file of the weights, None where there is a fault; and why others are left out."""

    name: str | None
    faults: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def choose(brought: Brought, named: str | None, large: LargeFiles, scratch: Path) -> Choice:
    """Choose the weights: safetensors of our name, then what the configuration loads.

    Args:
        brought: the bundle.
        named: the file name that the configuration loads, None where it says none.
        large: the files that the bundle keeps elsewhere.
        scratch: a folder to unpack an export into, where its sentence depends on its content.

    """
    there = [name for name in brought.of(Fate.WEIGHTS) if PurePosixPath(name).parent == _FOLDER]
    exports = brought.of(Fate.EXPORT)
    chosen = _chosen(there, named)
    if chosen is None:
        return Choice(name=None, faults=_missing(brought, named, large, scratch))
    left_out = {name: brought.judged[name].why for name in exports}
    sentence = f"is not the file that the weights are taken from, {chosen}"
    left_out |= {name: sentence for name in brought.of(Fate.WEIGHTS) if name != chosen}
    return Choice(name=chosen, left_out=left_out)


def _chosen(there: list[str], named: str | None) -> str | None:
    if named is None:
        usual = [name for name in (WEIGHTS, _USUAL) if name in there]
        return usual[0] if usual else there[0] if len(there) == 1 else None
    path = _FOLDER / named
    wanted = (WEIGHTS, str(path.with_suffix(".safetensors")), str(path))
    return next((name for name in wanted if name in there), None)


def _missing(brought: Brought, named: str | None, large: LargeFiles, scratch: Path) -> list[str]:
    """Say why there are no weights."""
    wanted = str(_FOLDER / named) if named else _USUAL
    if exports := brought.of(Fate.EXPORT)[:_TOLD]:
        return [f"{name} {_why(brought, name, scratch)}" for name in exports]
    if wanted in large:
        return [f"{wanted} is only named in large_files: download it into models/ first"]
    if named is None and (several := brought.of(Fate.WEIGHTS)):
        return [f"it is not plain which of {', '.join(several[:_TOLD])} are the weights"]
    return [f"{wanted} is missing; it holds the weights"]


def _why(brought: Brought, name: str, scratch: Path) -> str:
    if PurePosixPath(name).suffix.lower() != ".onnx":
        return brought.judged[name].why
    unpacked = scratch / "export.onnx"
    brought.extract(name, unpacked)
    with unpacked.open("rb") as file:
        domains = onnx.custom_domains(file)
    unpacked.unlink()
    if not domains:
        return forms.ONNX
    return f"needs operators of {', '.join(domains)}, which are code of others: {forms.STATE_DICT}"
