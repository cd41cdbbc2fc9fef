"""Single images: CT or MR slice, ultrasound, chest radiograph; with a lesion or without."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.phantoms.anatomy import Phantom, PhantomParameters, Tissue
from pipeline.phantoms.chest import chest
from pipeline.phantoms.head import head
from pipeline.volume import Image


class ImageKind(enum.StrEnum):
    """What the picture imitates; the value is its DICOM modality."""

    CT = "CT"
    MR = "MR"
    US = "US"
    CR = "CR"


@dataclass(frozen=True, kw_only=True)
class ImageParameters:
    """All that decides the pixels of an image phantom."""

    kind: ImageKind
    #: (rows, columns)
    shape: tuple[int, int] = (128, 128)
    #: (between rows, between columns), mm
    spacing: tuple[float, float] = (2.6, 2.4)
    seed: int = 0
    has_lesion: bool = True
    #: frames of an ultrasound loop; the other kinds have one
    frames: int = 1


@dataclass(frozen=True, kw_only=True)
class ImagePhantom:
    """An image and the truth about it.

    ``truth`` has shape (frames, rows, columns) and marks the lesion; all False without one.
    ``source`` is the volume phantom of one slice that a CT or MR image was cut from.
    """

    image: Image
    truth: NDArray[np.bool_] = field(repr=False)
    parameters: ImageParameters
    source: Phantom | None = None


def image(parameters: ImageParameters) -> ImagePhantom:
    """Draw one image phantom; same parameters, same pixels.

    Returns:
        Grey float32 pixels in the modality's unit: HU (CT), signal (MR), 0..255 (US),
        attenuation 0..4095 (CR, larger is denser and brighter).

    """
    match parameters.kind:
        case ImageKind.CT | ImageKind.MR:
            return _slice(parameters)
        case ImageKind.US:
            return _ultrasound(parameters)
        case ImageKind.CR:
            return _radiograph(parameters)


def _slice(parameters: ImageParameters) -> ImagePhantom:
    build = chest if parameters.kind is ImageKind.CT else head
    phantom = build(
        PhantomParameters(
            shape=(1, *parameters.shape),
            spacing=(5.0, *parameters.spacing),
            seed=parameters.seed,
            lesions=int(parameters.has_lesion),
            radius=(8.0, 16.0),
        )
    )
    volume = phantom.volume
    return ImagePhantom(
        image=Image(pixels=volume.values(), unit=volume.unit, spacing=parameters.spacing),
        truth=phantom.mask(Tissue.LESION),
        parameters=replace(parameters, frames=1),
        source=phantom,
    )


def _ultrasound(parameters: ImageParameters) -> ImagePhantom:
    """Draw a sector of fully developed speckle (Rayleigh) with a dark lesion and its echo.

    Behind a cyst the tissue is brighter: less sound was lost on the way.
    """
    rng = np.random.default_rng((parameters.seed, 3))
    rows, columns = parameters.shape
    y = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, columns, dtype=np.float32)[None, :]
    level = 95.0 * np.exp(-0.6 * y) + 12.0 * np.sin(9.0 * y + 2.0 * x)
    row, column, radius = rng.uniform(0.3, 0.6), rng.uniform(-0.25, 0.25), rng.uniform(0.1, 0.16)
    is_lesion = ((y - row) ** 2 + ((x - column) / 1.6) ** 2) <= radius**2
    is_lesion &= parameters.has_lesion
    if parameters.has_lesion:
        is_behind = (np.abs(x - column) < 1.4 * radius) & (y > row + radius)
        level = np.where(is_behind, 1.5 * level, level)
        level = np.where(is_lesion, 0.15 * level, level)
    is_sector = (np.abs(x) <= 0.25 + 0.75 * y) & (y**2 + 0.4 * x**2 <= 1.0)
    shape = (parameters.frames, rows, columns)
    grains = np.sqrt(
        rng.standard_normal(shape, np.float32) ** 2 + rng.standard_normal(shape, np.float32) ** 2
    )
    pixels = np.rint(np.clip(level * (0.45 + 0.45 * grains), 0, 255) * is_sector)
    return ImagePhantom(
        image=Image(pixels=pixels.astype(np.float32), spacing=parameters.spacing),
        truth=np.broadcast_to(is_lesion & is_sector, shape).copy(),
        parameters=parameters,
    )


def _radiograph(parameters: ImageParameters) -> ImagePhantom:
    """Project an analytic chest: each pixel sums the chords through its solids (Beer-Lambert)."""
    rng = np.random.default_rng((parameters.seed, 4))
    rows, columns = parameters.shape
    y = np.linspace(-1.0, 1.0, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, columns, dtype=np.float32)[None, :]

    def chord(
        row: float, column: float, half_row: float, half_column: float
    ) -> NDArray[np.float32]:
        inside = 1.0 - ((y - row) / half_row) ** 2 - ((x - column) / half_column) ** 2
        return np.sqrt(np.maximum(inside, np.float32(0.0)), dtype=np.float32)

    sides = rng.uniform(0.94, 1.0, 4)
    total = 1500.0 * chord(0.1, 0.0, 1.7, 0.92)
    lungs = [
        chord(-0.05, side * 0.42, 0.68 * a, 0.3 * b)
        for side, a, b in ((-1, sides[0], sides[1]), (1, sides[2], sides[3]))
    ]
    total -= 1100.0 * (lungs[0] + lungs[1])
    total += 900.0 * chord(0.0, 0.0, 6.0, 0.09) + 700.0 * chord(0.25, 0.12, 0.34, 0.3)
    ribs = np.sin(16.0 * (y - 0.35 * x**2)) > 0.72
    total += 130.0 * ribs * (np.abs(x) < 0.8) * (np.abs(x) > 0.09)
    side, angle = int(rng.integers(2)), rng.uniform(0.0, 2.0 * np.pi)
    centre = (-0.05 + 0.35 * np.sin(angle), (0.42 if side else -0.42) + 0.1 * np.cos(angle))
    radius = rng.uniform(0.06, 0.11)
    is_lesion = chord(*centre, radius, radius) > 0.0
    is_lesion &= parameters.has_lesion
    total += 420.0 * chord(*centre, radius, radius) * parameters.has_lesion
    total += rng.standard_normal((rows, columns), np.float32) * np.float32(18.0)
    return ImagePhantom(
        image=Image(
            pixels=np.rint(np.clip(total + 150.0, 0, 4095)).astype(np.float32)[None],
            spacing=parameters.spacing,
        ),
        truth=is_lesion[None],
        parameters=replace(parameters, frames=1),
    )
