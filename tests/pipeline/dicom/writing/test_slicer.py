"""What 3D Slicer sees: dcmqi turns objects into images on a grid in space, ITK reads those."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody does
from numpy.typing import NDArray

from pipeline.dicom.writing.parametric_map import write_parametric_map
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.seg_fractional import write_fractional_seg
from pipeline.results import Code, ValueMap
from pipeline.volume import Volume
from tests.pipeline.dicom.segs import PROVENANCE, made_volume, segment

dcmqi = pytest.importorskip("dcmqi", reason="dcmqi has no wheel for this platform")

SHAPE = (6, 17, 23)
VOLUME = made_volume(SHAPE)
SEGMENTS = [segment(2), segment(7)]


def labels() -> NDArray[np.uint8]:
    """Two boxes, and a pixel in two opposite corners: dcmqi's grid ends with the last frame."""
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[1:4, 3:9, 4:12] = 2
    label_map[2:5, 10:14, 2:20] = 7
    label_map[0, 0, 0], label_map[5, 16, 22] = 2, 7
    return label_map


def converted(tool: str, data: bytes, folder: Path) -> list[sitk.Image]:
    (folder / "object.dcm").write_bytes(data)
    command = [str(Path(dcmqi.__file__).parent / "bin" / tool), "-t", "nrrd"]
    command += ["--inputDICOM", str(folder / "object.dcm"), "--outputDirectory", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return [sitk.ReadImage(file) for file in sorted(folder.glob("*.nrrd"))]


def on_grid(image: sitk.Image, volume: Volume) -> NDArray[np.float64]:
    """Return the voxels of ``image`` at the voxels of ``volume``, found by their place in mm."""
    found = np.zeros(volume.stored.shape)
    array = sitk.GetArrayFromImage(image)
    for index in np.ndindex(found.shape):
        place = volume.to_patient(np.array(index, float)).tolist()
        column, row, slice_ = image.TransformPhysicalPointToIndex(place)
        found[index] = array[slice_, row, column]
    return found


def test_each_binary_segment_lies_on_its_voxels(tmp_path: Path) -> None:
    images = converted(
        "segimage2itkimage", write_seg(VOLUME, labels(), SEGMENTS, PROVENANCE), tmp_path
    )
    for number, image in zip((2, 7), images, strict=True):
        assert np.array_equal(on_grid(image, VOLUME) > 0, labels() == number)


def test_a_labelmap_lies_on_its_voxels(tmp_path: Path) -> None:
    data = write_seg(VOLUME, labels(), SEGMENTS, PROVENANCE, encoding=Encoding.LABELMAP)
    (image,) = converted("segimage2itkimage", data, tmp_path)
    assert np.array_equal(on_grid(image, VOLUME), np.searchsorted((0, 2, 7), labels()))


def test_probabilities_lie_on_their_voxels(tmp_path: Path) -> None:
    steps = np.random.default_rng(1).integers(1, 256, SHAPE)
    one = ValueMap(name="Thing", values=(steps / 255).astype(np.float32))
    data = write_fractional_seg(VOLUME, [one], [segment(1)], PROVENANCE)
    (image,) = converted("segimage2itkimage", data, tmp_path)
    assert np.array_equal(on_grid(image, VOLUME), steps)


@pytest.mark.parametrize("code", [None, Code(scheme="DCM", value="122157", meaning="Probability")])
def test_floats_lie_on_their_voxels(code: Code | None, tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    (data,) = write_parametric_map(
        VOLUME, [ValueMap(name="Heat", values=values, code=code)], PROVENANCE
    )
    (image,) = converted("paramap2itkimage", data, tmp_path)
    assert np.array_equal(on_grid(image, VOLUME), values)
