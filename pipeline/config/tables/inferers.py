"""Inferers and schedulers that a configuration may build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: packages, and the names below each by the module that defines them
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "monai.inferers": {
        "inferer": "SimpleInferer SlidingWindowInferer SlidingWindowInfererAdapt SliceInferer "
        "PatchInferer SaliencyInferer DiffusionInferer LatentDiffusionInferer "
        "ControlNetDiffusionInferer ControlNetLatentDiffusionInferer VQVAETransformerInferer",
        "merger": "AvgMerger",
        "splitter": "SlidingWindowSplitter",
    },
    "monai.apps.pathology.inferers": {"inferer": "SlidingWindowHoVerNetInferer"},
    "monai.networks.schedulers": {
        "ddim": "DDIMScheduler",
        "ddpm": "DDPMScheduler",
        "pndm": "PNDMScheduler",
        "rectified_flow": "RFlowScheduler",
    },
}
_WINDOWS = (
    "SlidingWindowInferer SlidingWindowInfererAdapt SliceInferer SlidingWindowHoVerNetInferer"
)
SPECIAL: Mapping[str, Mapping[str, Any]] = {
    # no bars on the terminal of whoever runs the worker
    **{name: {"fixed": {"progress": False}} for name in _WINDOWS.split()},
    # MONAI imports a merger by its name
    "PatchInferer": {"choices": {"merger_cls": frozenset({"AvgMerger"})}},
}
