"""Which parts of a configuration play which part, as its evaluator names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused

_EVALUATOR: Final = re.compile(r"(?:.*\.)?\w*Evaluator")
#: how configurations move what they built to a device
_MOVED: Final = re.compile(r"\$@(\w+)\.to\(@device\)")
_REFERENCE: Final = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The ids of the parts of one program."""

    #: every id that leads to the network: once it is built all of them stand for it
    network: tuple[str, ...]
    preprocessing: str
    #: None: MONAI's ``SimpleInferer``, as its evaluator has it
    inferer: str | None
    postprocessing: str | None
    #: whether a CUDA device is to compute in mixed precision; None = no
    amp: str | None
    #: what is to be done before the rest is used, e.g. the settings of a detector
    required: str | None
    #: the classes that VISTA3D is asked for; None = what its inferer looks for by itself
    prompts: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Every id that is resolved."""
        named = (self.inferer, self.postprocessing, self.amp, self.required, self.prompts)
        return (self.network[0], self.preprocessing, *(name for name in named if name is not None))


def read(document: Document) -> Layout:
    """Find the parts: what the evaluator names, and what MONAI's bundles usually call them.

    Raises:
        ConfigRefused: there is no network or no preprocessing.

    """
    evaluator = _evaluator(document)

    def part(name: str, *usual: str) -> str | None:
        named = [] if evaluator is None else [f"{evaluator}::{name}"]
        return next((_followed(document, one) for one in (*named, *usual) if one in document), None)

    network = part("network", "network", "network_def")
    preprocessing = _preprocessing(document, part("val_data_loader", "dataloader"))
    if network is None or preprocessing is None:
        missing = "network" if network is None else "preprocessing"
        raise ConfigRefused(f"the configuration names no {missing}")
    return Layout(
        network=tuple(_to_network(document, network)),
        preprocessing=preprocessing,
        inferer=part("inferer", "inferer"),
        postprocessing=part("postprocessing", "postprocessing"),
        amp=part("amp"),
        required=part("_requires_"),
        prompts=part("hyper_kwargs::everything_labels"),
    )


def target(document: Document, name: str | None) -> str:
    """Return the last part of the ``_target_`` at an id, "" where there is none."""
    found = None if name is None else document.items.get(name)
    written = found.get("_target_") if isinstance(found, dict) else None
    return written.rpartition(".")[2] if isinstance(written, str) else ""


def _evaluator(document: Document) -> str | None:
    found = [
        name
        for name, item in document.items.items()
        if isinstance(item, dict)
        and isinstance(item.get("_target_"), str)
        and _EVALUATOR.fullmatch(item["_target_"])
    ]
    return "evaluator" if "evaluator" in found else min(found, default=None)


def _preprocessing(document: Document, loader: str | None) -> str | None:
    """Follow the loader to its data set and that to its transform."""
    dataset = None if loader is None else _child(document, loader, "dataset")
    found = None if dataset is None else _child(document, dataset, "transform")
    usual = (name for name in ("preprocessing",) if name in document)
    return found if found is not None else next(usual, None)


def _child(document: Document, parent: str, name: str) -> str | None:
    one = f"{parent}::{name}"
    return _followed(document, one) if one in document else None


def _followed(document: Document, name: str) -> str:
    """Return the id that an id refers to, or itself."""
    seen = {name}
    while isinstance(item := document.items.get(name), str):
        match = _REFERENCE.fullmatch(item)
        following = match[1].replace("#", "::") if match else None
        if following is None or following in seen or following not in document:
            break
        name = following
        seen.add(name)
    return name


def _to_network(document: Document, name: str) -> Iterator[str]:
    yield name
    item: Any = document.items.get(name)
    match = _MOVED.fullmatch(item) if isinstance(item, str) else None
    if match and match[1] in document:
        yield from _to_network(document, _followed(document, match[1]))
