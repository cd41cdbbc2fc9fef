from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID, ComputedRadiographyImageStorage, SecondaryCaptureImageStorage

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Image
from tests.data import shared
from tests.pipeline.dicom import made_series as series


def _read_one(path: Path) -> Image:
    return series.read_image(path)


def test_a_lone_slice_is_an_image_in_its_unit(tmp_path: Path) -> None:
    image = _read_one(series.write(tmp_path, series.stack(1)))
    np.testing.assert_array_equal(image.pixels[0], series.pixels(0) - 1024.0)
    assert (image.pixels.dtype, image.unit, image.spacing) == (np.float32, "HU", (2.0, 0.5))


def test_several_instances_are_no_image(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack())
    with pytest.raises(StudyRejected) as refused:
        read(series.files_of(folder, series.only_series(folder)), as_image=True)
    assert refused.value.reason is Reason.SERIES_UNSUPPORTED


def test_views_of_a_radiograph_are_an_image_each(tmp_path: Path) -> None:
    views = series.stack(2)
    for one in views:
        one.SOPClassUID, one.Modality = ComputedRadiographyImageStorage, "CR"
        del one.ImagePositionPatient, one.ImageOrientationPatient
        series.with_meta(one)
    (study,) = series.scanned(series.write(tmp_path, views)).studies
    assert [(s.part, s.kind, len(s.instances)) for s in study.series] == [
        (0, "image", 1),
        (1, "image", 1),
    ]


def _colour(planar: int, photometric: str, pixels: np.ndarray) -> series.Dataset:
    one = series.instance(0)
    one.SOPClassUID, one.Modality = SecondaryCaptureImageStorage, "OT"
    del one.ImagePositionPatient, one.ImageOrientationPatient
    one.SamplesPerPixel, one.PhotometricInterpretation = 3, photometric
    one.PlanarConfiguration = planar
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 8, 8, 7, 0
    one.PixelData = pixels.tobytes()
    return series.with_meta(one)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_comes_back_as_rgb(tmp_path: Path, planar: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (series.ROWS, series.COLUMNS, 3), np.uint8)
    stored = rgb if planar == 0 else np.moveaxis(rgb, 2, 0)
    image = _read_one(series.write(tmp_path, [_colour(planar, "RGB", stored)]))
    np.testing.assert_array_equal(image.pixels[0], rgb)


def test_ybr_comes_back_as_rgb(tmp_path: Path) -> None:
    grey = np.full((series.ROWS, series.COLUMNS, 3), 128, np.uint8)
    grey[..., 0] = np.arange(series.COLUMNS) * 20
    image = _read_one(series.write(tmp_path, [_colour(0, "YBR_FULL", grey)]))
    np.testing.assert_allclose(image.pixels[0], grey[..., :1].repeat(3, axis=2), atol=1)


def test_a_palette_comes_back_as_its_colours(tmp_path: Path) -> None:
    one = series.instance(0)
    one.PhotometricInterpretation, one.PixelRepresentation = "PALETTE COLOR", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 8, 8, 7
    indices = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
    one.PixelData = indices.tobytes()
    colours = np.array([[0, 65280, 0], [0, 0, 65280], [65280, 0, 25600]], np.uint16)
    for name, channel in zip(("Red", "Green", "Blue"), colours, strict=True):
        setattr(one, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
        setattr(one, f"{name}PaletteColorLookupTableData", channel.tobytes())
    image = _read_one(series.write(tmp_path, [one]))
    np.testing.assert_array_equal(image.pixels[0], (colours >> 8).T[indices])


def test_frames_of_a_loop_keep_their_order(tmp_path: Path) -> None:
    one = series.instance(0)
    one.NumberOfFrames, one.Modality = 3, "US"
    one.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.3.1")
    one.PixelData = b"".join(series.pixels(number).tobytes() for number in range(3))
    image = _read_one(series.write(tmp_path, [series.with_meta(one)]))
    np.testing.assert_array_equal(image.pixels[:, 0, 0], [-1024.0, -24.0, 976.0])


def test_a_spacing_of_zero_is_no_spacing(tmp_path: Path) -> None:
    one = series.instance(0)
    one.PixelSpacing = [0, 0]
    assert _read_one(series.write(tmp_path, [one])).spacing is None


@pytest.mark.parametrize("stated", [None, [0, 0], [0.2, 0.1]])
def test_a_spacing_of_the_detector_is_said_to_be_one(
    tmp_path: Path, stated: list[float] | None
) -> None:
    one = series.instance(0)
    one.SOPClassUID, one.Modality = ComputedRadiographyImageStorage, "CR"
    del one.ImagePositionPatient, one.ImageOrientationPatient
    one.PixelSpacing, one.ImagerPixelSpacing = stated, [0.4, 0.3]
    image = _read_one(series.write(tmp_path, [series.with_meta(one)]))
    is_of_detector = stated != [0.2, 0.1]
    assert image.spacing == ((0.4, 0.3) if is_of_detector else (0.2, 0.1))
    assert image.header is not None
    assert image.header.is_spacing_of_detector is is_of_detector
    assert any("detector plane" in warning for warning in image.warnings) is is_of_detector


def test_broken_compressed_pixels_are_refused(tmp_path: Path) -> None:
    one = series.instance(0)
    one.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    one.PixelData = one.PixelData[:20] + b"\xff" * (len(one.PixelData) - 28) + one.PixelData[-8:]
    folder = series.write(tmp_path, [one])
    with pytest.raises(StudyRejected) as refused:
        read(series.files_of(folder, series.only_series(folder)), as_image=True)
    assert refused.value.reason is Reason.PIXELS_UNDECODABLE


def _codec(name: str) -> np.ndarray:
    path = shared("dicom", "codecs_wg04_a", name)
    (study,) = series.scanned(path).studies
    files = SeriesFiles(
        source=str(path),
        names=(path.name,),
        study_instance_uid=study.study_instance_uid,
        series_instance_uid=study.series[0].series_instance_uid,
    )
    image = read(files, as_image=True)
    assert isinstance(image, Image)
    return image.pixels


def test_lossless_codecs_agree_bit_for_bit() -> None:
    names = ("CT1_J2KR", "CT1_JLSL", "CT1_JPLL", "CT1_RLE")
    first, *others = (_codec(name) for name in names)
    assert np.ptp(first) > 1000
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_lossy_codecs_come_close() -> None:
    lossless = _codec("CT1_J2KR")
    inside = lossless > lossless.min()  # lossy codecs blur the padding around the image
    assert np.abs(lossless - _codec("CT1_JLSN"))[inside].max() <= 10
    assert np.abs(lossless - _codec("CT1_J2KI"))[inside].mean() < 40


def test_a_real_radiograph_shows_bone_brighter_than_air() -> None:
    image = series.read_image(shared("dicom", "cr_chest_philips", "RG1_J2KI"))
    assert image.pixels.shape == (1, 1955, 1841)
    assert image.spacing is None  # it states 0 by 0 mm
    assert any("MONOCHROME1" in warning for warning in image.warnings)


def test_real_ultrasound_comes_back_as_rgb_frames() -> None:
    (study, *_) = series.scanned(shared("dicom", "us_mixed_a", "examples_ybr_color.dcm")).studies
    files = SeriesFiles(
        source=str(shared("dicom", "us_mixed_a")),
        names=("examples_ybr_color.dcm",),
        study_instance_uid=study.study_instance_uid,
        series_instance_uid=study.series[0].series_instance_uid,
    )
    image = read(files, as_image=True)
    assert isinstance(image, Image)
    assert (image.pixels.shape, image.pixels.dtype) == ((30, 240, 320, 3), np.uint8)
