"""Sheared and incomplete series on an orthogonal grid, and back on their own slices."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.dicom.reading import read
from pipeline.dicom.series.regridding import regrid
from pipeline.dicom.writing.seg import write_seg
from pipeline.models import measures
from pipeline.models.spec import Label
from pipeline.policies import Policies
from pipeline.volume import Regridding, Volume
from tests.pipeline.dicom import made_series
from tests.pipeline.dicom.segs import PROVENANCE, segment

CENTRE, RADIUS = np.array([14.3, -21.8, 47.1]), 13.0
ROWS, COLUMNS, SLICES, STEP = 56, 72, 26, 2.5
SPACING = (1.2, 0.9)
READ_ALL = Policies(gantry_tilt="resample", missing_slice="resample")
SPHERE = Label(number=1, name="Sphere")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Slices turned about their rows, moved straight along z: a gantry tilted by ``angle``."""

    angle: float
    missing: tuple[int, ...] = ()

    @property
    def orientation(self) -> tuple[float, ...]:
        return (1.0, 0.0, 0.0, 0.0, math.cos(self.angle), -math.sin(self.angle))

    @property
    def numbers(self) -> list[int]:
        return [n for n in range(SLICES) if n not in self.missing]

    def position(self, number: int) -> NDArray[np.float64]:
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        middle = CENTRE + np.array([0.0, 0.0, (number - SLICES / 2) * STEP])
        return np.asarray(
            middle - row * COLUMNS / 2 * SPACING[1] - column * ROWS / 2 * SPACING[0] + 0.3
        )

    def places(self, number: int) -> NDArray[np.float64]:
        """Return the place of every pixel, (rows, columns, 3), LPS mm."""
        rows, columns = np.mgrid[:ROWS, :COLUMNS].astype(np.float64)
        along, down = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        return np.asarray(
            self.position(number)
            + columns[..., None] * SPACING[1] * along
            + rows[..., None] * SPACING[0] * down
        )

    @property
    def voxel_ml(self) -> float:
        return STEP * math.cos(self.angle) * SPACING[0] * SPACING[1] / 1000

    def write(self, folder: Path, image: NDArray[np.float64] | None = None) -> Path:
        datasets = []
        for number in self.numbers:
            one = made_series.instance(number)
            one.ImageOrientationPatient = [f"{v:.10f}" for v in self.orientation]
            one.ImagePositionPatient = [f"{v:.7f}" for v in self.position(number)]
            one.PixelSpacing, one.Rows, one.Columns = list(SPACING), ROWS, COLUMNS
            plane = ball(self.places(number)) if image is None else image[number]
            one.PixelData = np.rint(plane).astype(np.int16).tobytes()
            datasets.append(one)
        return made_series.write(folder, datasets)

    def read(self, folder: Path) -> Volume:
        series = made_series.only_series(folder)
        volume = read(made_series.files_of(folder, series), policies=READ_ALL)
        assert isinstance(volume, Volume)
        return volume


def ball(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2000 inside the ball, 0 outside, and a slope of 1 mm between."""
    depth = RADIUS - np.linalg.norm(places - CENTRE, axis=-1)
    return np.asarray(2000 * np.clip(depth + 0.5, 0, 1))


def _centroid(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Return the centroid of a mask on the source's slices, from their own positions."""
    found = [grid.places(n)[plane] for n, plane in zip(grid.numbers, mask, strict=True)]
    return np.asarray(np.concatenate(found).mean(axis=0))


GRIDS = {
    "tilted": Grid(angle=math.radians(20)),
    "tilted the other way": Grid(angle=math.radians(-12.5)),
    "slices missing": Grid(angle=0.0, missing=(4, 11, 12)),
    "both": Grid(angle=math.radians(20), missing=(13,)),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_a_ball_keeps_its_centre_and_its_volume_on_both_grids(tmp_path: Path, grid: Grid) -> None:
    volume = grid.read(grid.write(tmp_path))
    true_ml = 4 / 3 * math.pi * RADIUS**3 / 1000
    labels = (volume.stored >= 1000).astype(np.uint8)
    (found,) = measures.segments(labels, volume, [SPHERE])
    # what is filled linearly between two slices of a ball is a little too small
    assert found.volume_ml == pytest.approx(true_ml, rel=0.03 if grid.missing else 0.02)
    np.testing.assert_allclose(found.centroid, CENTRE, atol=0.15)  # type: ignore[arg-type]
    back = volume.on_source(labels) > 0
    assert back.shape == (len(grid.numbers), ROWS, COLUMNS)
    if not grid.missing:
        assert back.sum() * grid.voxel_ml == pytest.approx(true_ml, rel=0.02)
    truth = np.stack([ball(grid.places(n)) >= 1000 for n in grid.numbers])
    # of the slices that there are: where some lack, those around them weigh more
    np.testing.assert_allclose(_centroid(back, grid), _centroid(truth, grid), atol=0.1)
    overlap = 2 * (back & truth).sum() / (back.sum() + truth.sum())
    assert overlap > 0.97


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_an_image_that_is_linear_in_space_is_kept_exactly(tmp_path: Path, grid: Grid) -> None:
    slope = np.array([7.0, -11.0, 5.0])
    image = np.stack([grid.places(n) @ slope + 3000 for n in range(SLICES)])
    volume = grid.read(grid.write(tmp_path, image))
    assert volume.stored.dtype == np.int16
    count, rows, columns = volume.stored.shape
    index = np.stack(np.meshgrid(*map(np.arange, (count, rows, columns)), indexing="ij"), axis=-1)
    expected = volume.to_patient(index.astype(np.float64)) @ slope + 3000
    least = volume.stored.min()
    # outside of the slices, and half a pixel into them, is what was never seen
    inside = np.zeros(volume.stored.shape, bool)
    assert volume.regridding is not None
    for place, (down, right) in zip(
        volume.regridding.slices, volume.regridding.shifts, strict=True
    ):
        top, left = math.ceil(down), math.ceil(right)
        inside[place, top : top + ROWS - 1, left : left + COLUMNS - 1] = True
    assert np.abs(volume.stored - expected)[inside].max() <= 1.01
    if not grid.missing:
        assert (volume.stored[0, 0] == least).all() or (volume.stored[-1, 0] == least).all()
    values = volume.on_source(volume.stored.astype(np.float32))
    error = np.abs(values - image[grid.numbers])[:, 2:-2, 2:-2]
    assert error.max() <= 2.0


def test_slices_of_a_tilted_series_get_their_labels_in_the_seg(tmp_path: Path) -> None:
    grid = GRIDS["both"]
    volume = grid.read(grid.write(tmp_path))
    labels = (volume.stored >= 1000).astype(np.uint8)
    seg = pydicom.dcmread(io.BytesIO(write_seg(volume, labels, [segment(1)], PROVENANCE)))
    positions = [_position(group) for group in seg.PerFrameFunctionalGroupsSequence]
    known = {tuple(np.round(grid.position(n), 4)): n for n in grid.numbers}
    numbers = [known[tuple(np.round(position, 4))] for position in positions]
    pixels = seg.pixel_array.astype(bool)
    found = np.concatenate(
        [grid.places(n)[plane] for n, plane in zip(numbers, pixels, strict=True)]
    )
    np.testing.assert_allclose(found.mean(axis=0), CENTRE, atol=0.35)
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    np.testing.assert_allclose(
        [float(v) for v in orientation.ImageOrientationPatient], grid.orientation, atol=1e-6
    )


def _position(group: Dataset) -> list[float]:
    return [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]


def _moved(
    stored: NDArray[np.int16], way: Regridding, shape: tuple[int, int, int], slope: float = 1.0
) -> NDArray[np.int16]:
    out = np.full(shape, 77, stored.dtype)
    regrid(stored, way, out, slope=slope)
    return out


def test_a_half_pixel_shift_is_the_mean_of_neighbours() -> None:
    stored = np.array([[[10, 20], [30, 60]]], np.int16)
    way = Regridding(shape=(1, 2, 2), slices=(0,), shifts=((0.5, 0.0),))
    np.testing.assert_array_equal(_moved(stored, way, (1, 3, 2)), [[[10, 15], [20, 40], [20, 35]]])


def test_the_least_value_lies_outside_also_where_the_slope_is_negative() -> None:
    stored = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.int16)
    way = Regridding(shape=(2, 2, 2), slices=(0, 1), shifts=((1.0, 0.0), (0.0, 1.0)))
    assert _moved(stored, way, (2, 3, 3))[0].tolist() == [[1, 1, 1], [1, 2, 1], [3, 4, 1]]
    assert _moved(stored, way, (2, 3, 3), slope=-1.0)[1].tolist() == [
        [8, 5, 6],
        [8, 7, 8],
        [8, 8, 8],
    ]


def test_two_missing_slices_lie_at_a_third_each() -> None:
    stored = np.array([[[0]], [[90]]], np.int16)
    way = Regridding(shape=(2, 1, 1), slices=(0, 3), shifts=((0.0, 0.0),) * 2)
    assert _moved(stored, way, (4, 1, 1))[:, 0, 0].tolist() == [0, 30, 60, 90]


def test_wide_integers_do_not_overflow() -> None:
    stored = np.array([[[-(2**31)]], [[2**31 - 1]]], np.int32)
    out = np.empty((3, 1, 1), np.int32)
    regrid(stored, Regridding(shape=(2, 1, 1), slices=(0, 2), shifts=((0.0, 0.0),) * 2), out)
    assert out[1, 0, 0] in (-1, 0)


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.49, 0.51, 1.75])
def test_labels_return_to_the_nearest_pixel_and_values_to_between(shift: float) -> None:
    way = Regridding(shape=(1, 3, 2), slices=(0,), shifts=((shift, 0.0),))
    plane = np.arange(6.0).reshape(1, 6, 1).repeat(2, axis=2)
    labels = way.restore(plane.astype(np.uint8))
    assert labels[0, :, 0].tolist() == [math.floor(n + shift + 0.5) for n in range(3)]
    values = way.restore(plane.astype(np.float32))
    np.testing.assert_allclose(values[0, :, 1], np.arange(3) + shift, atol=1e-6)
