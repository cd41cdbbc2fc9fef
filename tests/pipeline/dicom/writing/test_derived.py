"""Derived images: where they lie, what they hold, and what others say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813, the name everybody knows it by
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.dicom.writing.derived import write_derived
from pipeline.dicom.writing.stored_values import stored_values
from pipeline.errors import ComputeFailed, StudyRejected
from pipeline.phantoms import chest
from pipeline.results import Code, DerivedImage
from pipeline.volume import Input, Regridding, Volume
from tests.pipeline.dicom.segs import (
    PROVENANCE,
    SMALL,
    all_axis_orders,
    oblique,
    on_disk,
    turned,
)
from tests.pipeline.dicom.writing.sources import SOURCES, VOLUMES, ct, edited, mr, pet, strictly
from tests.pipeline.dicom.writing.validator import errors, needs_dciodvfy

TURNS = [*all_axis_orders()[::4], *oblique()[:4]]


def denoised(source: Input, name: str = "denoised") -> DerivedImage:
    """The source itself, smoothed by nothing."""
    values = source.values() if isinstance(source, Volume) else source.pixels.astype(np.float32)
    return DerivedImage(name=name, values=values, affine=None)


def finer(volume: Volume) -> DerivedImage:
    """Twice the slices and columns, on a grid that begins a quarter of a voxel before."""
    affine = volume.affine.copy()
    affine[:, 0] /= 2
    affine[:, 2] /= 2
    affine[:3, 3] -= 0.25 * volume.affine[:3, 2]
    values = np.repeat(np.repeat(volume.values(), 2, axis=0), 2, axis=2)
    return DerivedImage(name="super resolution", values=values, affine=affine)


def read_by_itk(files: list[bytes], folder: Path) -> sitk.Image:
    folder.mkdir()
    for number, data in enumerate(reversed(files)):
        (folder / f"{number:03d}.dcm").write_bytes(data)
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))


def affine_of(image: sitk.Image) -> NDArray[np.float64]:
    """Return the affine from (slice, row, column) to LPS mm."""
    affine = np.eye(4)
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = (direction * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine


@needs_dciodvfy
@pytest.mark.parametrize("kind", SOURCES)
def test_a_denoised_image_is_without_fault(kind: str, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path)
    for data in write_derived(source, denoised(source), PROVENANCE):
        assert errors(data, tmp_path) == []


@needs_dciodvfy
@pytest.mark.parametrize("kind", VOLUMES)
def test_a_finer_volume_is_without_fault(kind: str, tmp_path: Path) -> None:
    source = VOLUMES[kind](tmp_path)
    files = write_derived(source, finer(source), PROVENANCE)
    assert len(files) == 2 * len(source.stored)
    assert errors(files[0], tmp_path) == errors(files[-1], tmp_path) == []


@needs_dciodvfy
@pytest.mark.parametrize("kind", ["ct", "mr", "radiograph"])
@pytest.mark.parametrize("part", [None, "KNEE", "NECKCHESTABDPELV", "WHOLEBODY", "WHOLE BODY"])
def test_an_unknown_side_or_position_of_the_body_is_no_fault(
    kind: str, part: str | None, tmp_path: Path
) -> None:
    def change(dataset: Dataset) -> None:
        dataset.pop("PatientPosition", None)
        del dataset.BodyPartExamined
        if part is not None:
            dataset.BodyPartExamined = part

    source = SOURCES[kind](tmp_path)
    assert source.header is not None
    header = replace(source.header, template=edited(source.header.template, change))
    source = replace(source, header=header)
    assert errors(write_derived(source, denoised(source), PROVENANCE)[0], tmp_path) == []


@pytest.mark.parametrize("turn", TURNS)
def test_a_finer_grid_lies_where_its_affine_says(turn: NDArray[np.float64], tmp_path: Path) -> None:
    phantom = turned(chest(SMALL), turn, np.array([-31.5, 12.25, 104.0]))
    derived = finer(on_disk(phantom, tmp_path / "source"))
    assert derived.affine is not None
    volume = on_disk(phantom, tmp_path / "again")
    image = read_by_itk(write_derived(volume, derived, PROVENANCE), tmp_path / "derived")
    np.testing.assert_allclose(affine_of(image), derived.affine, atol=1e-4)
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), derived.values, atol=0.5)


@pytest.mark.parametrize("kind", VOLUMES)
def test_values_come_back_within_the_error_that_is_stated(kind: str, tmp_path: Path) -> None:
    source = VOLUMES[kind](tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.3, source.stored.shape).astype(np.float32)
    values = np.abs(source.values() + noise) if kind == "pet" else source.values() + noise
    derived = DerivedImage(name="denoised", values=values, affine=None)
    files = write_derived(source, derived, PROVENANCE)
    stated = float(strictly(files[0]).DerivationDescription.split("at most ")[1].split(" ")[0])
    read = sitk.GetArrayFromImage(read_by_itk(files, tmp_path / "derived"))
    assert np.abs(read - values).max() <= stated * 1.001
    assert stated <= max(0.5, (values.max() - values.min()) / 65535)


def test_ct_stays_in_hounsfield_units(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    first = strictly(write_derived(volume, denoised(volume), PROVENANCE)[0])
    assert (first.RescaleSlope, first.RescaleIntercept, first.RescaleType) == (1, 0, "HU")
    assert np.array_equal(first.pixel_array, volume.values()[0].astype(np.int16))
    assert (first.WindowCenter, first.WindowWidth) == (-600, 1500)


def test_pet_keeps_its_times_and_says_that_it_is_suv(tmp_path: Path) -> None:
    volume = pet(tmp_path)
    first = strictly(write_derived(volume, denoised(volume), PROVENANCE)[0])
    assert (first.Units, first.SUVType, first.RescaleIntercept) == ("GML", "BW", 0)
    assert (first.SeriesDate, first.SeriesTime) == ("20240102", "030405")
    assert (first.ContentDate, first.NumberOfSlices) == ("20260304", 5)


def test_a_new_series_in_the_old_study_and_frame_of_reference(tmp_path: Path) -> None:
    volume = mr(tmp_path)
    assert volume.header is not None
    files = [strictly(data) for data in write_derived(volume, finer(volume), PROVENANCE)]
    assert len({file.SOPInstanceUID for file in files}) == len(files) == 10
    (series,) = {file.SeriesInstanceUID for file in files}
    assert series != volume.header.series_instance_uid
    assert {file.StudyInstanceUID for file in files} == {volume.header.study_instance_uid}
    assert {file.FrameOfReferenceUID for file in files} == {volume.header.frame_of_reference_uid}
    assert {tuple(file.ImageType) for file in files} == {
        ("DERIVED", "SECONDARY", "OTHER", "SUPER_RESOLUTION")
    }
    assert [file.InstanceNumber for file in files] == list(range(1, 11))


def test_every_slice_names_the_slices_it_lies_between(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    assert volume.header is not None
    uids = [one.sop_instance_uid for one in volume.header.instances]
    named = [
        [uids.index(item.ReferencedSOPInstanceUID) for item in strictly(data).SourceImageSequence]
        for data in write_derived(volume, finer(volume), PROVENANCE)
    ]
    assert named == [[0], [0, 1], [1], [1, 2], [2], [2, 3], [3], [3, 4], [4], [4]]


def test_frames_of_an_enhanced_source_are_named_by_number(tmp_path: Path) -> None:
    volume = VOLUMES["enhanced"](tmp_path)
    named = [
        strictly(data).SourceImageSequence[0].ReferencedFrameNumber
        for data in write_derived(volume, denoised(volume), PROVENANCE)
    ]
    assert named == [2, 4, 1, 5, 3]


def test_a_volume_with_a_filled_gap_names_the_slices_that_exist(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    assert volume.header is not None
    instances = volume.header.instances
    filled = replace(
        volume,
        header=replace(volume.header, instances=(*instances[:2], *instances[3:])),
        regridding=Regridding(
            shape=(4, *SMALL.shape[1:]), slices=(0, 1, 3, 4), shifts=((0.0, 0.0),) * 4
        ),
    )
    uids = [one.sop_instance_uid for one in instances]
    named = [
        [uids.index(item.ReferencedSOPInstanceUID) for item in strictly(data).SourceImageSequence]
        for data in write_derived(filled, denoised(filled), PROVENANCE)
    ]
    assert named == [[0], [1], [1], [3], [4]]


def test_the_steps_of_the_derivation_are_coded(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    code = Code(scheme="DCM", value="113087", meaning="Smoothing")
    smooth = strictly(write_derived(volume, replace(denoised(volume), code=code), PROVENANCE)[0])
    fine = strictly(write_derived(volume, finer(volume), PROVENANCE)[0])
    assert [item.CodeValue for item in smooth.DerivationCodeSequence] == ["113087"]
    assert "CodingSchemeIdentificationSequence" not in smooth
    assert [item.CodeValue for item in fine.DerivationCodeSequence] == [
        "SUPER-RESOLUTION",
        "113085",
    ]
    assert smooth.SourceImageSequence[0].SpatialLocationsPreserved == "YES"
    assert fine.SourceImageSequence[0].SpatialLocationsPreserved == "NO"


def test_colour_images_stay_in_colour(tmp_path: Path) -> None:
    source = SOURCES["ultrasound"](tmp_path)
    assert not isinstance(source, Volume)
    rgb = np.random.default_rng(0).uniform(-3, 258, (1, 96, 80, 3)).astype(np.float32)
    coloured = replace(source, pixels=np.zeros((1, 48, 40, 3), np.uint8), spacing=(1.0, 0.5))
    derived = DerivedImage(name="enhanced", values=rgb, affine=None)
    (data,) = write_derived(coloured, derived, PROVENANCE)
    file = strictly(data)
    assert np.array_equal(file.pixel_array, np.rint(rgb[0].clip(0, 255)))
    assert file.PhotometricInterpretation == "RGB"
    assert file.PixelSpacing == [0.5, 0.25]


@needs_dciodvfy
def test_a_spacing_of_the_detector_stays_one(tmp_path: Path) -> None:
    source = SOURCES["radiograph"](tmp_path)
    assert not isinstance(source, Volume)
    assert source.header is not None
    header = replace(source.header, is_spacing_of_detector=True)
    projected = replace(source, spacing=(1.0, 0.5), header=header)
    values = np.zeros((1, 96, 80), np.float32)
    derived = DerivedImage(name="super resolution", values=values, affine=None)
    (data,) = write_derived(projected, derived, PROVENANCE)
    file = strictly(data)
    assert file.ImagerPixelSpacing == [0.5, 0.25]
    assert "PixelSpacing" not in file
    assert errors(data, tmp_path) == []


def test_a_loop_becomes_one_picture_per_frame(tmp_path: Path) -> None:
    loop = SOURCES["ultrasound loop"](tmp_path)
    files = [strictly(data) for data in write_derived(loop, denoised(loop), PROVENANCE)]
    assert [file.SourceImageSequence[0].ReferencedFrameNumber for file in files] == [1, 2, 3]
    assert "BurnedInAnnotation" not in files[0]  # nobody knows what the source shows


def test_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    once, again = (write_derived(volume, denoised(volume), PROVENANCE) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    volume = ct(tmp_path)
    derived = denoised(volume)
    derived.values[0, 0, 0] = value
    with pytest.raises(ComputeFailed, match="not finite"):
        write_derived(volume, derived, PROVENANCE)


def test_hounsfield_units_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    derived = denoised(volume)
    derived.values[0, 0, 0] = 40000
    with pytest.raises(ComputeFailed, match="beyond 16 bits of HU"):
        write_derived(volume, derived, PROVENANCE)


def test_a_grid_that_is_none_is_refused(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    sheared = volume.affine.copy()
    sheared[0, 0] += 2.0
    with pytest.raises(StudyRejected, match="right angles"):
        write_derived(volume, replace(denoised(volume), affine=sheared), PROVENANCE)
    with pytest.raises(ValueError, match="needs an affine"):
        write_derived(volume, replace(finer(volume), affine=None), PROVENANCE)


NUMBERS = st.floats(-30000, 30000, width=32)


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.sampled_from(["CT", "MR", "PT", "US"]))
def test_no_value_moves_farther_than_the_error_that_is_stated(
    numbers: list[float], modality: str
) -> None:
    values = np.array(numbers, np.float32).reshape(1, 1, -1)
    stored = stored_values(values, modality=modality, unit="")
    read = stored.pixels.astype(np.float64) * stored.slope + stored.intercept
    assert np.abs(read - values).max() <= stored.error * (1 + 1e-9)
    if modality == "PT":
        assert stored.intercept == 0
