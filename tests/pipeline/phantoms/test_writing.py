from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.phantoms import (
    ImageKind,
    ImageParameters,
    PhotoKind,
    PhotoParameters,
    chest,
    head,
    image,
    photo,
    write_image,
    write_photo,
    write_series,
)
from pipeline.phantoms.chest import DEFAULT as CHEST
from pipeline.phantoms.head import DEFAULT as HEAD

SMALL = replace(CHEST, shape=(6, 64, 48), spacing=(18.0, 5.2, 6.4), lesions=0)


def test_every_slice_is_in_its_file_and_place(tmp_path: Path) -> None:
    phantom = chest(replace(SMALL, rotation=(10.0, 20.0, 30.0)))
    written = write_series(phantom, tmp_path, seed=7)
    assert len(written.paths) == 6
    for index, path in enumerate(written.paths):
        dataset = pydicom.dcmread(path)
        assert np.array_equal(dataset.pixel_array, phantom.volume.stored[index])
        place = phantom.volume.to_patient(np.array([index, 0.0, 0.0]))
        assert np.allclose(dataset.ImagePositionPatient, place, atol=1e-6)
        row = np.asarray(dataset.ImageOrientationPatient[:3], float)
        column = np.asarray(dataset.ImageOrientationPatient[3:], float)
        between_rows, between_columns = dataset.PixelSpacing
        assert np.allclose(row * between_columns, phantom.volume.affine[:3, 2], atol=1e-6)
        assert np.allclose(column * between_rows, phantom.volume.affine[:3, 1], atol=1e-6)
        step = phantom.volume.affine[:3, 0]
        assert np.allclose(np.cross(row, column) * 18.0, step, atol=1e-6)


def test_the_same_seed_writes_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    phantom = head(replace(HEAD, shape=(3, 32, 40), lesions=0))
    one = write_series(phantom, tmp_path / "one", seed=1)
    other = write_series(phantom, tmp_path / "other", seed=1)
    third = write_series(phantom, tmp_path / "third", seed=2)
    assert [p.read_bytes() for p in one.paths] == [p.read_bytes() for p in other.paths]
    assert one.series_instance_uid != third.series_instance_uid
    assert {p.name for p in one.paths}.isdisjoint(p.name for p in third.paths)


def test_series_of_one_study_share_study_patient_and_frame_of_reference(tmp_path: Path) -> None:
    phantom = chest(SMALL)
    one = write_series(phantom, tmp_path, seed=1, study_seed=9)
    other = write_series(phantom, tmp_path, seed=2, study_seed=9)
    assert one.study_instance_uid == other.study_instance_uid
    assert one.frame_of_reference_uid == other.frame_of_reference_uid
    assert one.series_instance_uid != other.series_instance_uid
    patients = {str(pydicom.dcmread(p).PatientID) for p in (*one.paths, *other.paths)}
    assert patients == {"PHANTOM-9"}


def test_uids_are_valid_under_any_root(tmp_path: Path) -> None:
    written = write_series(chest(SMALL), tmp_path, uid_root="1.2.826.0.1.3680043.8.498")
    uids = (*written.sop_instance_uids, written.study_instance_uid, written.series_instance_uid)
    assert len(set(uids)) == len(uids)
    for uid in uids:
        assert pydicom.uid.UID(uid).is_valid
        assert uid.startswith("1.2.826.0.1.3680043.8.498.")


@pytest.mark.parametrize("kind", ImageKind)
def test_images_come_back_as_written(kind: ImageKind, tmp_path: Path) -> None:
    phantom = image(ImageParameters(kind=kind, shape=(96, 80)))
    dataset = pydicom.dcmread(write_image(phantom, tmp_path).paths[0])
    stored = dataset.pixel_array.astype(float)
    values = stored * float(dataset.get("RescaleSlope", 1)) + float(
        dataset.get("RescaleIntercept", 0)
    )
    assert dataset.Modality == kind.value
    assert np.array_equal(values, phantom.image.pixels[0])


def test_a_negative_radiograph_is_the_same_picture_inverted(tmp_path: Path) -> None:
    phantom = image(ImageParameters(kind=ImageKind.CR))
    path = write_image(phantom, tmp_path, is_monochrome1=True).paths[0]
    dataset = pydicom.dcmread(path)
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    assert np.array_equal(4095 - dataset.pixel_array, phantom.image.pixels[0])


def test_an_ultrasound_loop_is_one_multiframe_file(tmp_path: Path) -> None:
    loop = image(ImageParameters(kind=ImageKind.US, frames=3))
    dataset = pydicom.dcmread(write_image(loop, tmp_path).paths[0])
    assert dataset.NumberOfFrames == 3
    assert np.array_equal(dataset.pixel_array, loop.image.pixels.astype(np.uint8))


@pytest.mark.parametrize("kind", PhotoKind)
def test_photographs_come_back_as_written(kind: PhotoKind, tmp_path: Path) -> None:
    phantom = photo(PhotoParameters(kind=kind, shape=(48, 40)))
    dataset = pydicom.dcmread(write_photo(phantom, tmp_path).paths[0])
    assert dataset.Modality == kind.value
    assert np.array_equal(dataset.pixel_array, phantom.image.pixels[0])
