"""Does an input fit what a model states? A mismatch refuses; nothing is guessed."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

import numpy as np

from pipeline.errors import ModelMismatch
from pipeline.models import networks
from pipeline.models.spec import InputSpec, ModelSpec
from pipeline.volume import Channels, Image, Input, Volume

#: a volume this many times coarser or finer than the model's spacing holds other structures
COARSEST_RATIO = 8.0
FINEST_RATIO = 0.05
#: voxels beyond these are no scanner's: a wrong unit or a broken header (mm)
SMALLEST_VOXEL = 0.005
LARGEST_VOXEL = 50.0


def volume(image: Input, spec: ModelSpec) -> Volume:
    """Return ``image`` as the volume that ``spec`` asks for.

    Raises:
        ModelMismatch: it is no volume, or not of the modality, unit or spacing the model knows.

    """
    if not isinstance(image, Volume):
        raise ModelMismatch(f"model {spec.name} needs a volume, not a single image")
    _modality(image, spec)
    _spacing(image, spec.input)
    if spec.input.channels != 1:
        raise ModelMismatch(
            f"model {spec.name} needs {spec.input.channels} channels, a volume has 1"
        )
    _unit(image, spec)
    if image.stored.dtype.kind == "f" and not np.isfinite(image.stored).all():
        raise ModelMismatch("the volume holds values that are not finite")
    return image


def needed_unit(spec: ModelSpec) -> str | None:
    """Return the unit (UCUM) of the numbers a model means; None where it means none.

    Of a CT it is Hounsfield units, unless it is only how the numbers lie to each other that counts.
    """
    is_absolute = not spec.kind.is_learned or spec.input.window is not None
    is_hounsfield = is_absolute and "CT" in spec.input.modalities
    return spec.input.unit or ("HU" if is_hounsfield else None)


def series(channels: Channels, spec: ModelSpec) -> tuple[Volume, ...]:
    """Return the volumes that are the channels ``spec`` asks for.

    Raises:
        ModelMismatch: there are more or fewer, one is missing and the network cannot do without,
            or one is not what ``volume`` asks for.

    """
    count = len(channels.present)
    if count != spec.input.channels:
        wanted = f"model {spec.name} needs {spec.input.channels} series as channels"
        raise ModelMismatch(f"{wanted}, there are {count}")
    if not all(channels.present) and not networks.takes_missing(spec.network):
        raise ModelMismatch(f"model {spec.name} cannot do without one of its series")
    one = replace(spec, input=replace(spec.input, channels=1))
    return tuple(volume(each, one) for each in channels.volumes)


def picture(image: Input, spec: ModelSpec) -> Image:
    """Return ``image`` as the single image that ``spec`` asks for.

    Raises:
        ModelMismatch: it is a volume, or not of the modality or channels the model knows.

    """
    if not isinstance(image, Image):
        raise ModelMismatch(f"model {spec.name} needs a single image, not a volume")
    if spec.input.orientation is not None:
        raise ModelMismatch(f"model {spec.name} needs a volume, whose planes lie in the patient")
    _modality(image, spec)
    channels = 3 if image.pixels.ndim == 4 else 1
    if channels != spec.input.channels:
        raise ModelMismatch(
            f"model {spec.name} needs {spec.input.channels} channels, the image has {channels}"
        )
    if spec.input.unit is not None:
        _unit(image, spec)
    if image.pixels.dtype.kind == "f" and not np.isfinite(image.pixels).all():
        raise ModelMismatch("the image holds values that are not finite")
    return image


def takes_loops(spec: InputSpec) -> bool:
    """Whether the first axis of a classifier may be time: nothing says how it lies in a patient."""
    return spec.spatial_dims == 3 and spec.orientation is None and spec.spacing is None


def is_sequence(image: Input, spec: InputSpec) -> TypeGuard[Image]:
    """Say whether an image is a loop whose frames are the first axis of a classifier of three."""
    return takes_loops(spec) and isinstance(image, Image) and len(image.pixels) > 1


def _modality(image: Input, spec: ModelSpec) -> None:
    """Compare modalities; an input without a header (training, tests) has none to compare."""
    if image.header is None or image.header.modality in spec.input.modalities:
        return
    known = ", ".join(spec.input.modalities)
    raise ModelMismatch(f"model {spec.name} is for {known}, not for {image.header.modality}")


def _unit(image: Input, spec: ModelSpec) -> None:
    needed = needed_unit(spec)
    if needed is not None and image.unit != needed:
        told = f"not {image.unit}" if image.unit else "and the image states no unit"
        raise ModelMismatch(f"model {spec.name} needs values in {needed}, {told}")


def _spacing(image: Volume, spec: InputSpec) -> None:
    along = image.spacing
    if min(along) < SMALLEST_VOXEL or max(along) > LARGEST_VOXEL:
        raise ModelMismatch(f"voxels of {_mm(along)} are no plausible scan")
    if spec.spacing is None:
        return
    # sorted: the model's axes may be turned against the volume's
    for have, want in zip(sorted(along), sorted(spec.spacing), strict=True):
        if not FINEST_RATIO <= have / want <= COARSEST_RATIO:
            raise ModelMismatch(
                f"voxels of {_mm(along)} are too far from the {_mm(spec.spacing)} of the model"
            )


def _mm(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{length:.3g}" for length in spacing) + " mm"
