"""A configuration resolved for runs: what reads is ours, what writes is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from pipeline.config.checking import faults as config_faults
from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.config.resolver import Resolver
from pipeline.models.program import layout, own_files
from pipeline.models.program.handing import Handing

DEVICE: Final = "device"
#: they write, print or wait: a run goes on as if they were disabled
_LEFT_OUT: Final = (
    "SaveImaged",
    "SaveClassificationd",
    "WriteFileMappingd",
    "DataStatsd",
    "SimulateDelayd",
)


def resolver(document: Document, *, given: Mapping[str, Any], load: Handing) -> Resolver:
    """Return a resolver of one run.

    Args:
        document: the configuration.
        given: answers for ids, for ``DEVICE`` at least.
        load: stands for ``LoadImaged``.

    """
    replacing = _replacing(document, load) | {"torch.device": _device(given[DEVICE])}
    given = {**own_files.metadata(document), **given}
    return Resolver(document, given=given, replacing=replacing)


def faults(document: Document) -> list[str]:
    """Say why a program cannot be run, as far as it shows without building anything."""
    try:
        parts = layout.read(document).parts
    except ConfigRefused as refused:
        return refused.faults
    return config_faults(
        document,
        parts,
        given=(DEVICE, *own_files.metadata_ids(document)),
        replacing=_replacing(document, Handing({})),
    )


def _replacing(document: Document, load: Handing) -> dict[str, Callable[..., Any]]:
    return {
        "LoadImaged": load.load,
        "torch.load": own_files.loading(document),
        **dict.fromkeys(_LEFT_OUT, _left_out),
    }


def _device(ours: torch.device) -> Callable[..., torch.device]:
    """Return what stands for ``torch.device``: whoever asks for CUDA gets the device of the run."""

    def device(*arguments: Any, **named: Any) -> torch.device:
        asked = torch.device(*arguments, **named)
        return ours if asked.type == "cuda" else asked

    return device


def _left_out() -> None:
    """Drop a component."""
