"""Small models and volumes that the tests of this folder share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.volume import SourceHeader, SourceInstance, Volume

UNET: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
}


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


def at_once(*asks: Callable[[], object]) -> list[object]:
    """Run each in a thread of its own; return what each said or raised."""
    said: list[object] = [None] * len(asks)

    def run(number: int) -> None:
        try:
            said[number] = asks[number]()
        except Exception as error:  # noqa: BLE001, it is what the test looks at
            said[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return said


def unet_spec(**changes: Any) -> ModelSpec:
    stated: dict[str, Any] = {
        "name": "tiny-unet",
        "version": "1",
        "kind": Kind.SEGMENTATION,
        "title": "A tiny U-Net",
        "input": InputSpec(
            modalities=("CT",), spatial_dims=3, window=(-1000.0, 400.0), size=(16, 16, 16)
        ),
        "labels": (Label(number=1, name="thing"),),
        "network": "UNet",
        "network_arguments": UNET,
    }
    return ModelSpec(**{**stated, **changes})


def coarse_spec(classes: int, orientation: str = "RAS") -> ModelSpec:
    """Return the spec of so many classes on a grid of uneven voxels, coarser than ``volume``'s."""
    return unet_spec(
        input=InputSpec(
            modalities=("CT",),
            spatial_dims=3,
            orientation=orientation,
            spacing=(1.7, 1.4, 1.9),
            window=(-1000.0, 400.0),
            size=(16, 16, 16),
        ),
        labels=tuple(Label(number=number, name=f"thing {number}") for number in range(1, classes)),
    )


def volume(shape: tuple[int, int, int] = (12, 20, 18), **changes: Any) -> Volume:
    """Return noise in Hounsfield units on a shifted grid of uneven voxels."""
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, 0.9], [0, 1.1, 0], [2.5, 0, 0]]
    affine[:3, 3] = (-30.0, 14.0, 250.0)
    stored = np.random.default_rng(0).integers(-900, 300, shape).astype(np.int16)
    return Volume(**{"stored": stored, "affine": affine, "unit": "HU", **changes})


def header(modality: str, slices: int = 12) -> SourceHeader:
    """Return the header of a volume of so many slices."""
    instances = (
        SourceInstance(sop_class_uid="1.2.3", sop_instance_uid=f"1.2.3.4.{n}")
        for n in range(slices)
    )
    return SourceHeader(
        template=b"",
        instances=tuple(instances),
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        frame_of_reference_uid=None,
        modality=modality,
    )


class Constant(nn.Module):
    """The same logits whatever it sees."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits), requires_grad=False)
        self.dropout = nn.Dropout(0.5)  # of nothing: all samples are alike

    def forward(self, images: Tensor) -> Tensor:
        spatial = images.shape[2:]
        shaped = self.logits.view(1, -1, *[1] * len(spatial))
        return shaped.expand(len(images), -1, *spatial).contiguous()
