"""Recipes and cases that train in a second: bright and dark 16 x 16 images, spheres in 16^3."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSIFICATION: dict[str, Any] = {
    "name": "quick",
    "title": "Quick",
    "kind": "classification",
    "network": {
        "name": "DenseNet",
        "arguments": {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            "init_features": 4,
            "growth_rate": 4,
            "block_config": [1],
            "bn_size": 1,
            "dropout_prob": 0.1,
        },
    },
    "input": {"modalities": ["OT"], "spatial_dims": 2, "window": [0, 1], "size": [16, 16]},
    "labels": [{"number": 0, "name": "dark"}, {"number": 1, "name": "bright"}],
    "loss": "cross-entropy",
    "optimiser": {"learning_rate": 0.02},
    "epochs": 4,
    "batch": 4,
    "augmentation": {"flip": 0.5, "noise": 0.02, "scale": 0.05},
    "seed": 3,
    "licence": "Apache-2.0",
}

_VOLUME = {
    "modalities": ["MR"],
    "spatial_dims": 3,
    "window": [0, 100],
    "size": [16, 16, 16],
}

SEGMENTATION: dict[str, Any] = CLASSIFICATION | {
    "name": "quick-segmentation",
    "kind": "segmentation",
    "network": {
        "name": "UNet",
        "arguments": {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 2,
            "channels": [4, 8],
            "strides": [2],
        },
    },
    "input": _VOLUME,
    "labels": [{"number": 1, "name": "ball"}],
    "loss": "dice-cross-entropy",
    "epochs": 2,
    "batch": 2,
}

DETECTION: dict[str, Any] = SEGMENTATION | {
    "name": "quick-detection",
    "kind": "detection",
    "network": {
        "name": "RetinaNet",
        "arguments": {
            "spatial_dims": 3,
            "in_channels": 1,
            "num_classes": 1,
            "features": [8],
            "pyramid_channels": 8,
        },
    },
    "labels": [{"number": 0, "name": "ball"}],
    "loss": "retinanet",
}

RESTORATION: dict[str, Any] = SEGMENTATION | {
    "name": "quick-restoration",
    "kind": "restoration",
    "network": {
        "name": "UNet",
        "arguments": {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 1,
            "channels": [4, 8],
            "strides": [2],
        },
    },
    "input": {"modalities": ["MR"], "spatial_dims": 2, "window": [0, 100], "size": [16, 16]},
    "labels": [],
    "loss": "charbonnier",
    "degradation": {"noise": [0.05, 0.1]},
    "augmentation": {"flip": 0.5, "scale": 0.05},
    "options": {"residual": True},
}

_PARTS = ("training", "training", "validation", "held-out")


def write_images(folder: Path, count: int = 16) -> Path:
    """Write dark and bright images, split as stated; returns the manifest."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        is_bright = number % 2 == 1
        image = rng.uniform(0.0, 0.4, (16, 16)) + 0.5 * is_bright
        np.save(folder / f"{number}.npy", image.astype(np.float32))
        label = "bright" if is_bright else "dark"
        rows.append((f"{number}.npy", label, f"p{number}", _PARTS[number // 2 % 4]))
    return write_manifest(folder, rows)


def write_balls(folder: Path, kind: str, count: int = 8) -> Path:
    """Write volumes with one bright ball each, and its mask, its box or nothing about it."""
    rng = np.random.default_rng(0)
    index = np.indices((16, 16, 16))
    rows = []
    for number in range(count):
        centre = rng.uniform(5.0, 10.0, 3)
        is_ball = ((index - centre[:, None, None, None]) ** 2).sum(axis=0) <= 9.0
        image = rng.uniform(0.0, 20.0, is_ball.shape) + 70.0 * is_ball
        np.save(folder / f"{number}.npy", image.astype(np.float32))
        label = _write_label(folder, number, kind, is_ball, centre)
        rows.append((f"{number}.npy", label, f"p{number}", _PARTS[number % 4]))
    return write_manifest(folder, rows)


def _write_label(
    folder: Path, number: int, kind: str, is_ball: NDArray[np.bool_], centre: NDArray[np.float64]
) -> str:
    """Write what is true of one ball; returns the name of the file."""
    if kind == "segmentation":
        np.save(folder / f"{number}.mask.npy", is_ball.astype(np.uint8))
        return f"{number}.mask.npy"
    if kind == "restoration":
        return ""
    # the affine of an array is the identity, so LPS mm are (slice, row, column)
    box = {"label": "ball", "centre": centre.tolist(), "size": [6.0, 6.0, 6.0]}
    (folder / f"{number}.json").write_text(json.dumps({"boxes": [box]}))
    return f"{number}.json"


def write_manifest(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    """Write a manifest with as many of its four columns as the rows have."""
    path = folder / "cases.csv"
    columns = ("image", "label", "patient_id", "split")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns[: len(rows[0])] if rows else columns)
        writer.writerows(rows)
    return path
