"""How slices are laid on a screen: the radiological convention and the right proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import Image, Input, Volume

#: plane -> (direction to the right, direction down, direction of scrolling), in LPS.
#: Patient's right is on the left; sagittal looks from the patient's left, face to the left.
_PLANES: Final = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
}
_NORMAL_OF: Final = ("sagittal", "coronal", "axial")
_LETTERS: Final = (("R", "L"), ("A", "P"), ("I", "S"))


@dataclass(frozen=True, kw_only=True)
class Display:
    """The way from (slice, row, column) to what the eye sees."""

    #: 'axial', 'coronal', 'sagittal', or '' for an image without a place in the patient
    plane: str
    is_transposed: bool
    #: whether up and down, left and right, first and last are swapped (after transposing)
    flips: tuple[bool, bool, bool]
    #: letters at the (left, right, top, bottom) edge, '' where unknown
    edges: tuple[str, str, str, str]
    #: (height, width) of one displayed pixel, mm or any common unit
    pixel: tuple[float, float]

    def slice_of(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Lay one plane (rows, columns[, colours]) out for the screen; a view, no copy."""
        shown = plane.swapaxes(0, 1) if self.is_transposed else plane
        return shown[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]

    def order(self, count: int) -> range:
        """Return the slice indices in the order of scrolling: head first, front first."""
        return range(count - 1, -1, -1) if self.flips[2] else range(count)

    def box(
        self, rows: tuple[float, float], columns: tuple[float, float], shape: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """Map a box in voxels to the screen.

        Args:
            rows: first and one past the last row.
            columns: first and one past the last column.
            shape: (rows, columns) of the slice.

        Returns:
            (left, top, right, bottom) as shares of width and height, 0 to 1.

        """
        down = (rows[0] / shape[0], rows[1] / shape[0])
        right = (columns[0] / shape[1], columns[1] / shape[1])
        if self.is_transposed:
            down, right = right, down
        if self.flips[0]:
            down = (1.0 - down[1], 1.0 - down[0])
        if self.flips[1]:
            right = (1.0 - right[1], 1.0 - right[0])
        return right[0], down[0], right[1], down[1]


def display_of(image: Input) -> Display:
    """Choose the display for ``image``: its own slices, turned to the convention."""
    if isinstance(image, Image):
        return Display(
            plane="",
            is_transposed=False,
            flips=(False, False, False),
            edges=("", "", "", ""),
            pixel=image.spacing or (1.0, 1.0),
        )
    return _display_of_volume(image)


def _display_of_volume(volume: Volume) -> Display:
    steps = volume.affine[:3, :3] / np.asarray(volume.spacing)
    plane = _NORMAL_OF[int(np.argmax(np.abs(steps[:, 0])))]
    right, down, scroll = (np.asarray(direction, float) for direction in _PLANES[plane])
    row_step, column_step = steps[:, 1], steps[:, 2]
    is_transposed = bool(abs(row_step @ right) > abs(column_step @ right))
    across, along = (row_step, column_step) if is_transposed else (column_step, row_step)
    _, between_rows, between_columns = volume.spacing
    return Display(
        plane=plane,
        is_transposed=is_transposed,
        flips=(
            bool(along @ down < 0),
            bool(across @ right < 0),
            bool(steps[:, 0] @ scroll < 0),
        ),
        edges=(_letter(-right), _letter(right), _letter(-down), _letter(down)),
        pixel=(between_columns, between_rows) if is_transposed else (between_rows, between_columns),
    )


def _letter(direction: NDArray[np.float64]) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return _LETTERS[axis][int(direction[axis] > 0)]
