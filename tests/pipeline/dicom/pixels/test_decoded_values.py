"""Every syntax that is installed gives the values that another reader gives, or a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import SecondaryCaptureImageStorage

from pipeline.dicom.reading import read
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series


def _path(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_expb.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
    ],
)
def test_lossless_syntaxes_give_the_values_of_the_uncompressed_file(name: str) -> None:
    expected = dcmread(_path("MR_small.dcm")).pixel_array
    np.testing.assert_array_equal(series.read_image(_path(name)).pixels[0], expected)


@pytest.mark.parametrize(
    "name",
    [
        "JPEG2000.dcm",
        "image_dfl.dcm",
        "J2K_pixelrep_mismatch.dcm",
    ],
)
def test_grey_images_have_the_values_that_pydicom_gives(name: str) -> None:
    dataset = dcmread(_path(name))
    expected = apply_modality_lut(pixel_array(dataset), dataset)
    np.testing.assert_allclose(series.read_image(_path(name)).pixels[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_app14_dcmd.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_rle.dcm",
        "examples_jpeg2k.dcm",
    ],
)
def test_colours_are_those_that_simpleitk_gives(name: str) -> None:
    expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(_path(name))))
    found = series.read_image(_path(name)).pixels
    # two inverse transforms from YBR, each with its own rounding of chroma
    assert np.abs(found.astype(int) - expected.reshape(found.shape)).max() <= 3


@pytest.mark.parametrize("name", ["SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit_2frame.dcm"])
def test_deep_colours_keep_their_greatest_bits(name: str) -> None:
    dataset = dcmread(_path(name))
    image = series.read_image(_path(name))
    expected = dataset.pixel_array >> (dataset.BitsStored - 8)
    np.testing.assert_array_equal(image.pixels, expected.reshape(image.pixels.shape))
    assert any("kept as 8" in warning for warning in image.warnings)


def test_a_modality_table_gives_the_values_that_pydicom_gives() -> None:
    dataset = dcmread(_path("mlut_18.dcm"))
    expected = apply_modality_lut(dataset.pixel_array, dataset)
    np.testing.assert_array_equal(series.read_image(_path("mlut_18.dcm")).pixels[0], expected)


def _with_table(entries: int, first: int, table: bytes) -> Dataset:
    one = series.instance(0)
    one.SOPClassUID, one.Modality = SecondaryCaptureImageStorage, "OT"
    del one.RescaleSlope, one.RescaleIntercept
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType, item.LUTData = [entries, first, 16], "HU", table
    one.ModalityLUTSequence = [item]
    return series.with_meta(one)


def test_values_outside_a_modality_table_take_its_nearest_end(tmp_path: Path) -> None:
    table = np.array([500, 600, 700], "<u2").tobytes()
    image = series.read_image(series.write(tmp_path, [_with_table(3, 1, table)]))
    assert image.pixels[0, 0, :5].tolist() == [500, 500, 600, 700, 700]
    assert image.unit == "HU"


def test_a_modality_table_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyRejected) as refused:
        series.read_image(series.write(tmp_path, [_with_table(300, 0, bytes(6))]))
    assert refused.value.reason is Reason.PIXELS_PALETTE_INVALID


def test_a_table_beside_a_rescale_is_refused(tmp_path: Path) -> None:
    one = _with_table(3, 1, bytes(6))
    one.RescaleSlope, one.RescaleIntercept = 1, 0
    with pytest.raises(StudyRejected) as refused:
        series.read_image(series.write(tmp_path, [one]))
    assert refused.value.reason is Reason.PIXELS_UNSUPPORTED


def _floating(value: float, bits: int) -> Dataset:
    one = series.instance(0)
    one.SOPClassUID, one.Modality = SecondaryCaptureImageStorage, "OT"
    del one.PixelData, one.BitsStored, one.HighBit, one.PixelRepresentation
    pixels = np.full((series.ROWS, series.COLUMNS), 0.1, f"<f{bits // 8}")
    pixels[1, 2] = value
    one.BitsAllocated = bits
    setattr(one, "FloatPixelData" if bits == 32 else "DoubleFloatPixelData", pixels.tobytes())
    return series.with_meta(one)


@pytest.mark.parametrize("bits", [32, 64])
def test_floating_point_pixels_are_values(tmp_path: Path, bits: int) -> None:
    image = series.read_image(series.write(tmp_path, [_floating(2.5, bits)]))
    assert image.pixels[0, 1, 2] == 2.5 - 1024
    assert image.pixels[0, 0, 0] == np.float32(0.1) - np.float32(1024)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floating_point_pixels_that_are_not_finite_are_refused(
    tmp_path: Path, value: float
) -> None:
    folder = series.write(tmp_path, [_floating(value, 32)])
    with pytest.raises(StudyRejected) as refused:
        read(series.files_of(folder, series.only_series(folder)), as_image=True)
    assert refused.value.reason is Reason.PIXELS_NOT_FINITE


@pytest.mark.parametrize("photometric", ["YBR_PARTIAL_420", "HSV", "CMYK"])
def test_colours_that_are_not_turned_into_rgb_are_refused_by_name(
    tmp_path: Path, photometric: str
) -> None:
    one = series.instance(0)
    one.SOPClassUID = SecondaryCaptureImageStorage
    one.SamplesPerPixel, one.PhotometricInterpretation = 3, photometric
    one.PlanarConfiguration, one.PixelRepresentation = 0, 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 8, 8, 7
    one.PixelData = bytes(3 * series.ROWS * series.COLUMNS)
    with pytest.raises(StudyRejected) as refused:
        series.read_image(series.write(tmp_path, [series.with_meta(one)]))
    assert refused.value.reason is Reason.PIXELS_UNSUPPORTED
    assert photometric in refused.value.sentence
