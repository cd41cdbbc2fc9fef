"""A small bundle in MONAI's layout, as somebody would bring it, and ways to spoil it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.models import networks
from tests.pipeline.models import tiny

METADATA: Mapping[str, Any] = {
    "version": "0.3.1",
    "monai_version": "1.4.0",
    "pytorch_version": "2.4.0",
    "name": "Spleen in CT",
    "task": "Segment the spleen",
    "description": "A tiny network with random weights",
    "eval_metrics": {"mean_dice": 0.5},
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image",
                "format": "hounsfield",
                "modality": "CT",
                "num_channels": 1,
                "spatial_shape": [16, "16*n", "*"],
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": True,
                "channel_def": {"0": "image"},
            }
        },
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                "num_channels": 2,
                "spatial_shape": [16, 16, 16],
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": True,
                "channel_def": {"0": "background", "1": "spleen"},
            }
        },
    },
}

INFERENCE: Mapping[str, Any] = {
    "imports": ["$import os"],
    "bundle_root": ".",
    "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "network_def": {"_target_": "UNet", **tiny.UNET},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16]},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
    },
    "checkpointloader": {
        "_target_": "CheckpointLoader",
        "load_path": "$@bundle_root + '/models/model.pt'",
        "load_dict": {"model": "@network"},
    },
}


def state() -> dict[str, torch.Tensor]:
    """Return the weights that fit the network of the configuration."""
    torch.manual_seed(0)
    return networks.build("UNet", tiny.UNET).state_dict()


def write(
    folder: Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    weights: Any = None,
) -> Path:
    """Write the bundle with a state dict; what is given goes in the place of what is sound."""
    for name in ("configs", "docs", "models", "scripts"):
        (folder / name).mkdir(parents=True)
    (folder / "configs/metadata.json").write_text(json.dumps(metadata or METADATA))
    (folder / "configs/inference.json").write_text(json.dumps(inference or INFERENCE))
    (folder / "docs/README.md").write_text("# Spleen\n")
    (folder / "LICENSE").write_text("Apache-2.0\n")
    (folder / "scripts/__init__.py").write_text("raise SystemExit\n")
    torch.save(state() if weights is None else weights, folder / "models/model.pt")
    return folder


def changed(document: Mapping[str, Any], where: str, value: Any) -> dict[str, Any]:
    """Return a copy of nested mappings with another value at ``a.b.c``."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    *above, last = where.split(".")
    place = copy
    for part in above:
        place = place[part]
    place[last] = value
    return copy


def zipped(folder: Path, path: Path, *, top: str = "") -> Path:
    """Write a folder as a ZIP, below one folder ``top`` where that is given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(folder).as_posix())
    return path
