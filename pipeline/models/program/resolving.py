"""A configuration resolved for runs: what reads is ours, what writes is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.config.checking import faults as config_faults
from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.config.resolver import Resolver
from pipeline.models.program import layout
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
    """Return a resolver of one run. ``given`` answers for ids, ``load`` for ``LoadImaged``."""
    return Resolver(document, given=given, replacing=_replacing(load))


def faults(document: Document) -> list[str]:
    """Say why a program cannot be run, as far as it shows without building anything."""
    try:
        parts = layout.read(document).parts
    except ConfigRefused as refused:
        return refused.faults
    return config_faults(document, parts, given=(DEVICE,), replacing=_replacing(Handing({})))


def _replacing(load: Handing) -> Mapping[str, Callable[..., Any]]:
    return {"LoadImaged": load.load, **dict.fromkeys(_LEFT_OUT, _left_out)}


def _left_out() -> None:
    """Drop a component."""
