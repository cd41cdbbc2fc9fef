"""NRRD: the same voxels at the same place as SimpleITK reads them, and nothing from elsewhere."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import StudyRejected
from pipeline.training import nrrd, reading
from pipeline.volume import Volume
from tests import data as public

VALUES = np.random.default_rng(0).integers(-500, 500, (3, 4, 5)).astype(np.int16)
HEADER = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "5 4 3",
    "space directions": "(0.5,0,0) (0,0.5,0) (0,0,2)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(1,2,3)",
}


def written(path: Path, body: bytes | None = None, **other: str) -> Path:
    fields = HEADER | {name.replace("_", " "): value for name, value in other.items()}
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items() if value)]
    body = VALUES.astype("<i2").tobytes() if body is None else body
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + body)
    return path


def itk_affine(path: Path) -> NDArray[np.float64]:
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine[:, [2, 1, 0, 3]]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"space": "right-anterior-superior"},
        {"space": "LAS"},
        {"space_directions": "(0,0.5,0) (0,0,-0.5) (2,0,0)"},
        {"space": "", "space_directions": "", "space_origin": "", "spacings": "0.5 0.25 3"},
    ],
)
def test_voxels_lie_where_simpleitk_puts_them(tmp_path: Path, other: dict[str, str]) -> None:
    path = written(tmp_path / "a.nrrd", **other)
    read = nrrd.read(path, "HU")
    assert np.array_equal(read.stored, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))
    assert np.array_equal(read.stored, VALUES)
    assert np.allclose(read.affine, itk_affine(path))
    assert read.unit == "HU"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_whatever_simpleitk_writes_is_read_back(tmp_path: Path, kind: str, *, packed: bool) -> None:
    values = (VALUES % 100).astype(kind)
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-10.0, 20.0, 5.5))
    path = tmp_path / "a.nrrd"
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    read = nrrd.read(path)
    assert read.stored.dtype == values.dtype
    assert np.array_equal(read.stored, values)
    assert np.allclose(read.affine, itk_affine(path))


def test_the_order_of_bytes_is_that_of_the_header(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nrrd", VALUES.astype(">i2").tobytes(), endian="big")
    assert np.array_equal(nrrd.read(path).stored, VALUES)


@pytest.mark.parametrize(
    "other",
    [
        {"data_file": "../secret.raw"},
        {"byte_skip": "-1"},
        {"dimension": "4", "sizes": "5 4 3 1"},
        {"sizes": "5 4 4"},
        {"sizes": "5 4 0"},
        {"sizes": "5 4"},
        {"sizes": "99999 99999 99999"},
        {"type": "block"},
        {"encoding": "text"},
        {"encoding": "gzip"},
        {"space": "scanner-xyz"},
        {"space_directions": "none (0,0.5,0) (0,0,2)"},
        {"space_directions": "(0,0,0) (0,0.5,0) (0,0,2)"},
        {"space_directions": "(nan,0,0) (0,0.5,0) (0,0,2)"},
        {"space_origin": "(1,2)"},
        {"type": ""},
    ],
)
def test_what_it_is_not_sure_of_is_refused(tmp_path: Path, other: dict[str, str]) -> None:
    with pytest.raises(StudyRejected):
        nrrd.read(written(tmp_path / "a.nrrd", **other))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(StudyRejected, match="more or fewer"):
        nrrd.read(written(tmp_path / "a.nrrd", bomb, encoding="gzip"))


@given(place=st.integers(0, 250), value=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = written(tmp_path_factory.getbasetemp() / "damaged.nrrd")
    damaged = bytearray(path.read_bytes())
    damaged[place] = value
    path.write_bytes(damaged)
    try:
        assert isinstance(nrrd.read(path), Volume)
    except StudyRejected as refused:
        assert refused.sentence  # noqa: PT017 - either is right


def test_a_real_volume_and_its_mask_fit_each_other() -> None:
    folder = public.shared("labelled", "seg3d_nrrd_pyradiomics")
    for name in ("brain1", "breast1"):
        image = reading.read_image(folder / f"{name}_image.nrrd", spatial_dims=3)
        assert isinstance(image, Volume)
        assert np.allclose(image.affine, itk_affine(folder / f"{name}_image.nrrd"))
        mask = reading.read_mask(folder / f"{name}_label.nrrd", image, largest=1)
        expected = SimpleITK.GetArrayFromImage(
            SimpleITK.ReadImage(str(folder / f"{name}_label.nrrd"))
        )
        assert 0 < mask.sum() == np.count_nonzero(expected)
