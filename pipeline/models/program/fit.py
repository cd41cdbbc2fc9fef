"""Does an input fit what a program's bundle states?"""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import ModelMismatch
from pipeline.models import checks
from pipeline.models.spec import ModelSpec
from pipeline.volume import Channels, Image, Input


def check(image: Input | Channels, spec: ModelSpec, *, takes_volume: bool) -> None:
    """Hold an input against the metadata.

    Args:
        image: what is to be run.
        spec: what the bundle states.
        takes_volume: whether the program runs on volumes; networks of two axes may, slice by slice.

    Raises:
        ModelMismatch: says what was wanted and what there is.

    """
    if not takes_volume:
        if isinstance(image, Channels):
            raise ModelMismatch(f"model {spec.name} needs a single image, not several volumes")
        checks.picture(image, spec)
        return
    if isinstance(image, Image):
        raise ModelMismatch(f"model {spec.name} needs a volume, not a single image")
    volumes = image.volumes if isinstance(image, Channels) else (image,)
    if len(volumes) != spec.input.channels:
        wanted = f"model {spec.name} needs {spec.input.channels} series as channels"
        raise ModelMismatch(f"{wanted}, there {_are(len(volumes))}")
    one = replace(spec, input=replace(spec.input, channels=1))
    for volume in volumes:
        checks.volume(volume, one)
        if volume.header is not None and volume.header.modality == "CT" and volume.unit != "HU":
            has = volume.unit or "no unit"
            raise ModelMismatch(
                f"model {spec.name} needs Hounsfield units (HU), the volume has {has}"
            )


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
