"""Tiles of a stained slide: pieces of tissue on glass. Truth is where the tissue lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import Image

_GLASS, _STROMA, _NUCLEUS = (243, 240, 243), (222, 148, 190), (96, 62, 140)


@dataclass(frozen=True, kw_only=True)
class SlideParameters:
    """All that decides the pixels of a slide phantom."""

    #: how many tiles (down, across)
    tiles: tuple[int, int] = (5, 6)
    #: pixels of a side of a tile
    side: int = 32
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SlidePhantom:
    """Tiles row by row as the frames of an image, and the truth: (tiles, rows, columns)."""

    image: Image
    truth: NDArray[np.bool_] = field(repr=False)
    parameters: SlideParameters


def slide(parameters: SlideParameters) -> SlidePhantom:
    """Draw one slide: an ellipse of tissue with nuclei that lies over the inner tiles.

    Returns:
        RGB uint8 pixels, a frame for each tile.

    """
    rng = np.random.default_rng((parameters.seed, 6))
    down, across = parameters.tiles
    rows, columns = down * parameters.side, across * parameters.side
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    row, column = rng.uniform(-0.1, 0.1, 2)
    truth = ((y - row) / 0.6) ** 2 + ((x - column) / 0.7) ** 2 <= 1
    is_nucleus = truth & (np.sin(41 * y + row) * np.sin(53 * x + column) > 0.7)
    rgb = np.full((rows, columns, 3), _GLASS, np.float32)
    rgb[truth], rgb[is_nucleus] = _STROMA, _NUCLEUS
    rgb += 3 * rng.standard_normal(rgb.shape, np.float32)
    pixels = np.rint(rgb.clip(0, 255)).astype(np.uint8)
    return SlidePhantom(
        image=Image(pixels=_tiled(pixels, parameters)),
        truth=_tiled(truth, parameters),
        parameters=parameters,
    )


def _tiled(whole: NDArray[Any], parameters: SlideParameters) -> NDArray[Any]:
    """Cut (rows, columns, ...) into (tiles, side, side, ...), row by row."""
    down, across = parameters.tiles
    side, rest = parameters.side, whole.shape[2:]
    cut = whole.reshape(down, side, across, side, *rest).swapaxes(1, 2)
    return np.ascontiguousarray(cut.reshape(down * across, side, side, *rest))
