"""Colour pictures: skin, retina, bowel and a Doppler still; with a lesion or without."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.phantoms.anatomy import Mask
from pipeline.phantoms.image import ImageKind, ImageParameters, image
from pipeline.volume import Image

_Plane = NDArray[np.float32]
_SKIN, _NAEVUS, _HAIR = (226, 176, 152), (112, 70, 52), (58, 42, 36)
_RETINA, _DISC, _VESSEL, _BLEEDING = (186, 88, 40), (244, 214, 140), (122, 34, 20), (74, 14, 12)
_MUCOSA, _LUMEN, _GLARE, _POLYP = (214, 122, 106), (52, 18, 16), (255, 250, 245), (196, 44, 52)
_TOWARDS, _AWAY = (214, 52, 30), (36, 70, 216)


class PhotoKind(enum.StrEnum):
    """What the picture imitates; the value is its DICOM modality."""

    SKIN = "XC"
    RETINA = "OP"
    BOWEL = "ES"
    DOPPLER = "US"


@dataclass(frozen=True, kw_only=True)
class PhotoParameters:
    """All that decides the pixels of a photo phantom."""

    kind: PhotoKind
    #: (rows, columns)
    shape: tuple[int, int] = (128, 128)
    seed: int = 0
    has_lesion: bool = True


@dataclass(frozen=True, kw_only=True)
class PhotoPhantom:
    """A picture in colour, and where its lesion lies: (frames, rows, columns)."""

    image: Image
    truth: NDArray[np.bool_] = field(repr=False)
    parameters: PhotoParameters


def photo(parameters: PhotoParameters) -> PhotoPhantom:
    """Draw one photo phantom; same parameters, same pixels.

    Same seed, with a lesion and without: the same picture but for what the lesion changes. Hairs,
    vessels, the optic disc, glare and flow lie in both.

    Returns:
        RGB uint8 pixels of one frame.

    """
    if parameters.kind is PhotoKind.DOPPLER:
        return _doppler(parameters)
    draw = {PhotoKind.SKIN: _skin, PhotoKind.RETINA: _retina, PhotoKind.BOWEL: _bowel}
    canvas = _Canvas(parameters)
    lesion = draw[parameters.kind](canvas)
    return canvas.finish(lesion & parameters.has_lesion, noise=4.0)


def loop(parameters: PhotoParameters, *, shows: Sequence[bool]) -> PhotoPhantom:
    """Draw a loop of one scene, a frame for each of ``shows``: whether the lesion is in view."""
    each = [photo(replace(parameters, has_lesion=shown)) for shown in shows]
    return PhotoPhantom(
        image=Image(pixels=np.concatenate([one.image.pixels for one in each])),
        truth=np.concatenate([one.truth for one in each]),
        parameters=parameters,
    )


class _Canvas:
    """A picture in the making: colours, and the coordinates of its pixels, -1 to 1."""

    def __init__(self, parameters: PhotoParameters) -> None:
        self.parameters = parameters
        self.random = np.random.default_rng(
            (parameters.seed, 5, [*PhotoKind].index(parameters.kind))
        )
        rows, columns = parameters.shape
        self.y: _Plane = np.linspace(-1.0, 1.0, rows, dtype=np.float32)[:, None]
        self.x: _Plane = np.linspace(-1.0, 1.0, columns, dtype=np.float32)[None, :]
        self.rgb: _Plane = np.zeros((rows, columns, 3), np.float32)

    def fill(self, colour: Sequence[int], spread: float) -> None:
        """Paint the ground, its brightness varied by the seed, darker towards one side."""
        tilt = self.random.uniform(-0.12, 0.12, 2)
        shade = self.random.uniform(1.0 - spread, 1.0) + tilt[0] * self.y + tilt[1] * self.x
        self.rgb[...] = np.asarray(colour, np.float32) * shade[..., None].astype(np.float32)

    def paint(self, colour: Sequence[int], share: NDArray[np.floating] | Mask) -> None:
        """Blend a colour in, ``share`` of it in each pixel."""
        blend = np.clip(share, 0.0, 1.0).astype(np.float32)[..., None]
        self.rgb += blend * (np.asarray(colour, np.float32) - self.rgb)

    def blob(self, reach: float, radius: tuple[float, float]) -> NDArray[np.floating]:
        """Draw an ellipse somewhere within ``reach`` of the middle; below 1 is inside."""
        away, angle, turn = self.random.uniform((0.0, 0.0, 0.0), (reach, 2 * np.pi, np.pi))
        half, flat = self.random.uniform(*radius), self.random.uniform(0.7, 1.0)
        dy, dx = self.y - away * np.sin(angle), self.x - away * np.cos(angle)
        along = dy * np.sin(turn) + dx * np.cos(turn)
        across = dy * np.cos(turn) - dx * np.sin(turn)
        return np.asarray(np.hypot(along / half, across / (half * flat)))

    def curve(self, width: float) -> NDArray[np.floating]:
        """Draw a slightly bent line through the picture; 1 on it, 0 beside it."""
        turn, place, bend = self.random.uniform((0.0, -0.7, -0.35), (np.pi, 0.7, 0.35))
        along = self.y * np.sin(turn) + self.x * np.cos(turn)
        across = self.y * np.cos(turn) - self.x * np.sin(turn)
        return np.asarray(np.abs(across - place - bend * along**2) < width, np.float32)

    def finish(self, truth: Mask, *, noise: float) -> PhotoPhantom:
        """Add the noise of a camera and close the picture."""
        grain = self.random.standard_normal(self.rgb.shape, np.float32) * np.float32(noise)
        pixels = np.rint(np.clip(self.rgb + grain, 0, 255)).astype(np.uint8)
        return PhotoPhantom(
            image=Image(pixels=pixels[None]), truth=truth[None], parameters=self.parameters
        )


def _skin(canvas: _Canvas) -> Mask:
    """Draw skin with freckles and hairs, and a naevus."""
    canvas.fill(_SKIN, 0.25)
    for _ in range(int(canvas.random.integers(6))):
        canvas.paint(_NAEVUS, 0.5 * (canvas.blob(0.9, (0.02, 0.04)) < 1))
    lesion = canvas.blob(0.5, (0.18, 0.35))
    canvas.paint(_NAEVUS, _soft(lesion) * canvas.parameters.has_lesion)
    for _ in range(int(canvas.random.integers(5))):
        canvas.paint(_HAIR, canvas.curve(0.012))
    return lesion < 1


def _retina(canvas: _Canvas) -> Mask:
    """Draw a fundus with its disc and vessels, and a bleeding."""
    canvas.fill(_RETINA, 0.2)
    side = canvas.random.choice((-1.0, 1.0))
    disc = np.hypot(canvas.y - canvas.random.uniform(-0.1, 0.1), canvas.x - 0.5 * side) / 0.16
    canvas.paint(_DISC, _soft(disc))
    for _ in range(int(canvas.random.integers(3, 7))):
        canvas.paint(_VESSEL, 0.8 * canvas.curve(0.018))
    lesion = canvas.blob(0.55, (0.12, 0.22))
    canvas.paint(_BLEEDING, _soft(lesion) * canvas.parameters.has_lesion)
    canvas.paint((4, 3, 3), np.hypot(canvas.y, canvas.x) > 0.95)
    return lesion < 1


def _bowel(canvas: _Canvas) -> Mask:
    """Draw mucosa in folds around a dark lumen, glare on it, and a polyp."""
    canvas.fill(_MUCOSA, 0.2)
    lumen = canvas.blob(0.35, (0.2, 0.35))
    folds = 0.5 + 0.5 * np.sin(5.0 * lumen + canvas.random.uniform(0.0, 6.0))
    canvas.paint(_LUMEN, 0.3 * folds + 0.7 * _soft(lumen))
    lesion = canvas.blob(0.6, (0.16, 0.28))
    canvas.paint(_POLYP, _soft(lesion) * canvas.parameters.has_lesion)
    for _ in range(int(canvas.random.integers(2, 7))):
        canvas.paint(_GLARE, canvas.blob(0.9, (0.02, 0.05)) < 1)
    return lesion < 1


def _doppler(parameters: PhotoParameters) -> PhotoPhantom:
    """Lay flow in colours over the ultrasound still of the same seed."""
    still = image(
        ImageParameters(
            kind=ImageKind.US,
            shape=parameters.shape,
            seed=parameters.seed,
            has_lesion=parameters.has_lesion,
        )
    )
    canvas = _Canvas(parameters)
    canvas.rgb[...] = still.image.pixels[0][..., None]
    is_tissue = canvas.rgb[..., 0] > 0
    box = (np.abs(canvas.x) < 0.5) & (np.abs(canvas.y - 0.1) < 0.5)
    for colour in (_TOWARDS, _AWAY):
        canvas.paint(colour, 0.85 * canvas.curve(0.04) * (box & is_tissue & ~still.truth[0]))
    return canvas.finish(still.truth[0], noise=0.0)


def _soft(ellipse: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return 1 inside an ellipse, 0 outside, and a narrow slope between."""
    return np.asarray(np.clip((1.0 - ellipse) / 0.15 + 0.5, 0.0, 1.0))
