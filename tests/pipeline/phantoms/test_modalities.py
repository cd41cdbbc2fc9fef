"""Phantoms of PET, mammography, loops in colour and slides, and what their DICOM states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline import phantoms
from pipeline.phantoms import BreastParameters, PhotoKind, PhotoParameters, SlideParameters, Tissue
from pipeline.phantoms.pet import BODY, DEFAULT, LESION
from tests.pipeline.dicom.made_series import read_image, read_volume


@pytest.mark.parametrize("seed", range(3))
def test_a_torso_states_where_its_lesions_are_and_what_they_hold(seed: int) -> None:
    phantom = phantoms.torso(replace(DEFAULT, seed=seed, noise=0.0))
    lesion = phantom.mask(Tissue.LESION)
    counted = lesion.sum() * phantom.volume.voxel_volume_ml
    assert counted == pytest.approx(phantom.analytic_ml[Tissue.LESION], rel=0.12)
    values = phantom.volume.values()
    assert values.max() == pytest.approx(LESION)
    assert np.median(values[phantom.mask(Tissue.BODY)]) == pytest.approx(BODY)
    assert values[phantom.mask(Tissue.BACKGROUND)].mean() < 0.05


def test_a_written_pet_comes_back_as_the_suv_of_the_phantom(tmp_path: Path) -> None:
    phantom = phantoms.torso(replace(DEFAULT, seed=4))
    phantoms.write_series(phantom, tmp_path, seed=4)
    volume = read_volume(tmp_path)
    assert volume.unit == "g/mL"
    np.testing.assert_allclose(volume.values(), phantom.volume.values(), rtol=1e-5, atol=1e-5)


def test_a_mammogram_has_the_area_of_half_an_ellipse(tmp_path: Path) -> None:
    phantom = phantoms.breast(BreastParameters(seed=2))
    assert phantom.truth.sum() == pytest.approx(phantom.analytic_pixels, rel=0.01)
    phantoms.write_breast(phantom, tmp_path, seed=2)
    image = read_image(tmp_path)
    np.testing.assert_array_equal(image.pixels, phantom.image.pixels)
    assert image.header is not None
    assert image.header.modality == "MG"


def test_a_loop_shows_its_lesion_in_the_frames_that_are_asked_for(tmp_path: Path) -> None:
    shows = (False, True, True)
    made = phantoms.loop(PhotoParameters(kind=PhotoKind.BOWEL, seed=3), shows=shows)
    assert tuple(frame.any() for frame in made.truth) == shows
    written = phantoms.write_photo(made, tmp_path, seed=3)
    np.testing.assert_array_equal(read_image(tmp_path).pixels, made.image.pixels)
    header = pydicom.dcmread(written.paths[0], stop_before_pixels=True)
    assert header.SOPClassUID.name == "Video Endoscopic Image Storage"
    assert (header.NumberOfFrames, header.FrameTime) == (3, 40)


def test_a_slide_is_cut_into_tiles_row_by_row(tmp_path: Path) -> None:
    phantom = phantoms.slide(SlideParameters(tiles=(2, 3), side=16))
    assert phantom.image.pixels.shape == (6, 16, 16, 3)
    # an ellipse about the middle: the whole is its tiles side by side
    whole = np.block([[phantom.truth[0], phantom.truth[1], phantom.truth[2]], [*phantom.truth[3:]]])
    assert whole.mean() == pytest.approx(np.pi * 0.6 * 0.7 / 4, rel=0.05)
    assert whole[16, 24]
    assert not whole[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    written = phantoms.write_slide(phantom, tmp_path)
    np.testing.assert_array_equal(read_image(tmp_path).pixels, phantom.image.pixels)
    header = pydicom.dcmread(written.paths[0], stop_before_pixels=True)
    assert (header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns) == (32, 48)
