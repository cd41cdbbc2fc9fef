"""Cases: the same voxels at the same place in the patient, from every kind of file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline import phantoms
from pipeline.errors import StudyRejected
from pipeline.phantoms import PhantomParameters, Tissue
from pipeline.training import box_files, reading
from pipeline.training.boxes import Box
from pipeline.training.phantom_manifest import Cases, chest
from pipeline.training.reading import LabelRefused
from pipeline.volume import Image, Volume

PARAMETERS = PhantomParameters(
    shape=(12, 40, 36), spacing=(6.0, 8.0, 8.5), seed=5, lesions=1, rotation=(10.0, -7.0, 20.0)
)


def save(path: Path, values: NDArray[Any], affine: NDArray[np.float64]) -> Path:
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(values, affine), path)
    return path


def volume(path: Path, unit: str = "") -> Volume:
    read = reading.read_image(path, spatial_dims=3, unit=unit)
    assert isinstance(read, Volume)
    return read


def test_phantoms_written_as_cases_are_read_back_where_they_were(tmp_path: Path) -> None:
    from pipeline.training import phantom_manifest

    chest(Cases(tmp_path, 2))
    for number in range(2):
        seed = phantom_manifest.FIRST_SEED + number
        phantom = phantoms.chest(phantom_manifest._chest_parameters(seed))
        read = volume(tmp_path / f"{number:04d}.nii", "HU")
        mask = reading.read_mask(tmp_path / f"{number:04d}.mask.nii", read, largest=1)
        assert np.allclose(read.affine, phantom.volume.affine, atol=1e-3)
        assert np.array_equal(read.values(), phantom.volume.values())
        assert np.array_equal(mask == 1, phantom.mask(Tissue.LESION))
        stated = box_files.read(tmp_path / f"{number:04d}.boxes.json").boxes
        assert [box.centre for box in stated if isinstance(box, Box)] == [
            pytest.approx(lesion.centre, abs=1e-3) for lesion in phantom.lesions
        ]


def test_a_dicom_folder_is_the_phantom_it_was_written_from(tmp_path: Path) -> None:
    phantom = phantoms.chest(PARAMETERS)
    phantoms.write_series(phantom, tmp_path)
    read = volume(tmp_path)
    assert np.allclose(read.affine, phantom.volume.affine, atol=1e-3)
    assert np.array_equal(read.values(), phantom.volume.values())
    assert read.unit == "HU"


def test_a_network_of_planes_may_be_given_a_folder_with_a_volume(tmp_path: Path) -> None:
    phantom = phantoms.chest(PARAMETERS)
    phantoms.write_series(phantom, tmp_path)
    with pytest.raises(StudyRejected, match="0 series that are images"):
        reading.read_image(tmp_path, spatial_dims=2)
    read = reading.read_image(tmp_path, spatial_dims=2, also="volume")
    assert isinstance(read, Volume)
    assert np.array_equal(read.values(), phantom.volume.values())


def test_a_network_of_three_axes_may_be_given_a_folder_with_a_loop(tmp_path: Path) -> None:
    phantom = phantoms.image(phantoms.ImageParameters(kind=phantoms.ImageKind.US, frames=4))
    phantoms.write_image(phantom, tmp_path)
    with pytest.raises(StudyRejected, match="0 series that are volumes"):
        reading.read_image(tmp_path, spatial_dims=3)
    read = reading.read_image(tmp_path, spatial_dims=3, also="image")
    assert isinstance(read, Image)
    assert np.array_equal(read.pixels, phantom.image.pixels)


def test_a_folder_with_a_photograph_is_read_in_its_colours(tmp_path: Path) -> None:
    phantom = phantoms.photo(phantoms.PhotoParameters(kind=phantoms.PhotoKind.SKIN))
    phantoms.write_photo(phantom, tmp_path)
    read = reading.read_image(tmp_path, spatial_dims=2, channels=3)
    assert isinstance(read, Image)
    assert np.array_equal(read.pixels, phantom.image.pixels)


def test_a_mask_turned_and_mirrored_on_disk_lands_on_its_image(tmp_path: Path) -> None:
    """The oracle is nibabel's own reorientation of the file."""
    phantom = phantoms.chest(PARAMETERS)
    phantoms.write_series(phantom, tmp_path / "dicom")
    image = volume(tmp_path / "dicom")
    straight = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine[:, [2, 1, 0, 3]]
    values = phantom.mask(Tissue.LESION).transpose(2, 1, 0).astype(np.uint8)
    make: Any = nibabel.Nifti1Image
    for codes in ("RAS", "LPI", "SRA", "PIL"):
        turn = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(straight), nibabel.orientations.axcodes2ornt(codes)
        )
        path = tmp_path / f"{codes}.nii"
        nibabel.save(make(values, straight).as_reoriented(turn), path)
        mask = reading.read_mask(path, image, largest=1)
        assert np.array_equal(mask == 1, phantom.mask(Tissue.LESION)), codes


def test_a_mask_of_another_grid_or_place_is_refused(tmp_path: Path) -> None:
    image = Volume(stored=np.zeros((4, 5, 6), np.int16), affine=np.eye(4))
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine[:, [2, 1, 0, 3]]
    values = np.zeros((6, 5, 4), np.uint8)
    moved, scaled = ras.copy(), ras.copy()
    moved[0, 3] += 3.0
    scaled[:3, :3] *= 1.5
    reading.read_mask(save(tmp_path / "same.nii", values, ras), image, largest=1)
    for name, affine in (("moved", moved), ("scaled", scaled)):
        with pytest.raises(LabelRefused):
            reading.read_mask(save(tmp_path / f"{name}.nii", values, affine), image, largest=1)
    with pytest.raises(LabelRefused):
        reading.read_mask(save(tmp_path / "small.nii", values[1:], ras), image, largest=1)


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5])
def test_a_mask_with_values_no_label_has_is_refused(tmp_path: Path, value: float) -> None:
    image = Volume(stored=np.zeros((2, 2, 2), np.int16), affine=np.eye(4))
    np.save(tmp_path / "mask.npy", np.full((2, 2, 2), value))
    with pytest.raises(LabelRefused):
        reading.read_mask(tmp_path / "mask.npy", image, largest=1)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npy", "a.png"])
def test_a_file_of_rubbish_is_refused_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x93rubbish" * 60)
    with pytest.raises(StudyRejected):
        reading.read_image(tmp_path / name, spatial_dims=2)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@given(place=st.integers(0, 700), value=st.integers(0, 255))
def test_a_damaged_nifti_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    save(path, np.arange(64, dtype=np.float32).reshape(4, 4, 4), np.eye(4))
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    with contextlib.suppress(StudyRejected):
        assert reading.read_image(path, spatial_dims=3).stored.ndim == 3


@pytest.mark.parametrize("kind", ["c8", [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_a_nifti_of_anything_but_plain_numbers_is_refused(tmp_path: Path, kind: Any) -> None:
    path = save(tmp_path / "a.nii", np.zeros((3, 3, 3), np.dtype(kind)), np.eye(4))
    with pytest.raises(StudyRejected):
        reading.read_image(path, spatial_dims=3)


def test_a_pickle_in_an_array_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StudyRejected):
        reading.read_image(tmp_path / "a.npy", spatial_dims=2)


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0.0, np.nan]]))
    with pytest.raises(StudyRejected):
        reading.read_image(tmp_path / "a.npy", spatial_dims=2)


def test_a_picture_is_a_grey_image_of_one_frame(tmp_path: Path) -> None:
    from PIL import Image as Picture

    Picture.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png")
    read = reading.read_image(tmp_path / "a.png", spatial_dims=2)
    assert isinstance(read, Image)
    assert read.pixels.shape == (1, 3, 4)
    assert read.pixels[0, 2, 3] == 11.0


@pytest.mark.parametrize("name", ["mask.npy", "mask.png"])
def test_the_mask_of_a_single_image_is_an_array_or_a_picture(tmp_path: Path, name: str) -> None:
    from PIL import Image as Picture

    truth = np.array([[0, 1, 2], [2, 0, 1]], np.uint8)
    if name.endswith("png"):
        Picture.fromarray(truth).save(tmp_path / name)
    else:
        np.save(tmp_path / name, truth)
    for pixels in (np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3, 3), np.uint8)):
        mask = reading.read_mask(tmp_path / name, Image(pixels=pixels), largest=2)
        assert np.array_equal(mask, truth[None])
    with pytest.raises(LabelRefused, match="shape"):
        reading.read_mask(tmp_path / name, Image(pixels=np.zeros((1, 3, 2))), largest=2)
    with pytest.raises(LabelRefused, match="whole numbers"):
        reading.read_mask(tmp_path / name, Image(pixels=pixels), largest=1)


def test_a_mask_with_a_place_in_the_patient_is_none_of_a_single_image(tmp_path: Path) -> None:
    with pytest.raises(LabelRefused):
        reading.read_mask(
            tmp_path / "mask.nii", Image(pixels=np.zeros((1, 2, 3), np.float32)), largest=1
        )


def test_a_picture_keeps_its_colours_where_a_recipe_asks_for_them(tmp_path: Path) -> None:
    from PIL import Image as Picture

    colours = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    Picture.fromarray(colours).save(tmp_path / "a.png")
    Picture.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    np.save(tmp_path / "a.npy", colours)
    for name in ("a.png", "a.npy"):
        read = reading.read_image(tmp_path / name, spatial_dims=2, channels=3)
        assert isinstance(read, Image)
        assert np.array_equal(read.pixels, colours[None])
    with pytest.raises(StudyRejected, match="has colours"):
        read_pixels(tmp_path / "a.png", channels=1)
    assert read_pixels(tmp_path / "grey.png", channels=3).shape == (1, 3, 4)


@pytest.mark.parametrize(
    "values", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((1, 4, 4, 3), np.uint8)]
)
def test_an_array_that_holds_no_colours_is_refused_where_they_are_asked_for(
    tmp_path: Path, values: np.ndarray
) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(StudyRejected, match="colours"):
        reading.read_image(tmp_path / "a.npy", spatial_dims=2, channels=3)


def read_pixels(path: Path, *, channels: int) -> np.ndarray:
    read = reading.read_image(path, spatial_dims=2, channels=channels)
    assert isinstance(read, Image)
    return np.asarray(read.pixels)


def test_a_folder_without_a_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(StudyRejected):
        reading.read_image(tmp_path, spatial_dims=3)
