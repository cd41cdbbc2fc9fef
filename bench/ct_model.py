"""The model of the benchmark: MONAI's UNet with 4.8 million seeded weights, packed as a bundle."""

from __future__ import annotations

from pathlib import Path

from pipeline.models import bundle
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec

NAME = "bench-ct-unet"
SPACING_MM = 1.5
WINDOW_HU = (-175.0, 250.0)
SIZE = 96
OVERLAP = 0.25
CLASSES = 4
#: from here on convolutions between all classes would take nearly all of the time
MANY_CLASSES = 64
ARGUMENTS = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": CLASSES,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}


def make(folder: Path, *, classes: int = CLASSES, dtype: str = "float32") -> Path:
    """Write the bundle where it is not there yet; return its folder."""
    import torch

    from pipeline.models import networks

    is_plain = (classes, dtype) == (CLASSES, "float32")
    target = folder / (NAME if is_plain else f"{NAME}-{classes}-{dtype}")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(7)
        spec = _spec(classes, dtype)
        network = networks.build("UNet", spec.network_arguments)
        bundle.write(target, spec, weights=network.state_dict(), card=f"# {NAME}\n\n{__doc__}\n")
    return target


def _spec(classes: int, dtype: str) -> ModelSpec:
    simpler = {"num_res_units": 0} if classes >= MANY_CLASSES else {}
    return ModelSpec(
        name=NAME,
        version="1",
        kind=Kind.SEGMENTATION,
        title="Random weights for measuring speed",
        input=InputSpec(
            modalities=("CT",),
            spatial_dims=3,
            orientation="RAS",
            spacing=(SPACING_MM,) * 3,
            window=WINDOW_HU,
            size=(SIZE,) * 3,
            overlap=OVERLAP,
        ),
        labels=tuple(Label(number=n, name=f"class {n}") for n in range(1, classes)),
        network="UNet",
        network_arguments=ARGUMENTS | {"out_channels": classes} | simpler,
        options={"crop_foreground": True, "dtype": dtype},
    )
