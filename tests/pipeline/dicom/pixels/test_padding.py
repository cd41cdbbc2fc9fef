"""What is no part of the image never reaches statistics or models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, RLELossless

from tests.pipeline.dicom import made_series as series


def _padded(padding: int, corner: int, count: int = 3) -> list[Dataset]:
    """Slices whose first voxel holds ``corner``."""
    slices = series.stack(count)
    for number, one in enumerate(slices):
        stored = series.pixels(number)
        stored[0, 0] = corner
        one.PixelData = stored.tobytes()
        one.PixelPaddingValue = padding
    return slices


def test_padding_becomes_the_least_value_of_the_image(tmp_path: Path) -> None:
    volume = series.read_volume(series.write(tmp_path, _padded(-2000, -2000)))
    expected = np.stack([series.pixels(number) for number in range(3)])
    expected[:, 0, 0] = 1  # the least beside the corner
    np.testing.assert_array_equal(volume.stored, expected)
    assert any(warning.startswith("3 voxels are padding") for warning in volume.warnings)


def test_compressed_padding_becomes_the_least_value_too(tmp_path: Path) -> None:
    slices = _padded(-2000, -2000)
    for one in slices:
        one.compress(RLELossless, generate_instance_uid=False)
    volume = series.read_volume(series.write(tmp_path, slices))
    assert volume.stored.min() == 1


def test_a_range_of_padding_is_masked_whichever_end_comes_first(tmp_path: Path) -> None:
    for name, ends in (("up", (-2000, -1990)), ("down", (-1990, -2000))):
        slices = _padded(ends[0], -1995)
        for one in slices:
            one.PixelPaddingRangeLimit = ends[1]
        volume = series.read_volume(series.write(tmp_path / name, slices))
        assert volume.stored.min() == 1


def test_padding_written_with_the_other_sign_is_the_same_bits(tmp_path: Path) -> None:
    slices = _padded(0, -2000)
    for one in slices:
        one["PixelPaddingValue"].VR = "US"
        one.PixelPaddingValue = 65536 - 2000
    assert series.read_volume(series.write(tmp_path, slices)).stored.min() == 1


def test_a_falling_rescale_has_its_least_value_at_the_greatest_stored_one(tmp_path: Path) -> None:
    slices = _padded(-2000, -2000)
    for one in slices:
        one.RescaleSlope = -1
    volume = series.read_volume(series.write(tmp_path, slices))
    assert volume.stored[0, 0, 0] == volume.stored.max() == 2057
    assert volume.values()[0, 0, 0] == volume.values().min()


def test_padding_is_masked_across_slices_of_different_rescale(tmp_path: Path) -> None:
    slices = _padded(-2000, -2000)
    for number, one in enumerate(slices):
        one.RescaleSlope = 1 + number
    volume = series.read_volume(series.write(tmp_path, slices))
    values = volume.values()
    assert values.min() == 1 - 1024
    assert values[2, 0, 0] == 1 - 1024
    assert values[2, 0, 1] == 3 * 2001 - 1024


def test_padding_of_an_image_is_masked_in_its_unit(tmp_path: Path) -> None:
    image = series.read_image(series.write(tmp_path, _padded(-2000, -2000, count=1)))
    assert image.pixels[0, 0, 0] == image.pixels.min() == 1 - 1024


def _radiograph(stored: np.ndarray, padding: int, limit: int | None = None) -> Dataset:
    """One MONOCHROME1 image of 12 bits, or a loop of several, without a rescale."""
    one = series.instance(0)
    one.SOPClassUID, one.Modality = ComputedRadiographyImageStorage, "CR"
    one.PhotometricInterpretation, one.PixelRepresentation = "MONOCHROME1", 0
    one.BitsStored, one.HighBit = 12, 11
    del one.RescaleSlope, one.RescaleIntercept
    one.PixelPaddingValue = padding
    if limit is not None:
        one.PixelPaddingRangeLimit = limit
    if stored.ndim == 3:
        one.NumberOfFrames = len(stored)
    one.Rows, one.Columns = stored.shape[-2:]
    one.PixelData = stored.astype(np.uint16).tobytes()
    return series.with_meta(one)


def _exposed(frames: int) -> np.ndarray:
    """Stored values of 500 to 2000, the corner of each frame outside the collimator."""
    stored = np.full((frames, series.ROWS, series.COLUMNS), 1000)
    stored[:, 1, 1], stored[-1, 2, 2] = 500, 2000
    stored[:, 0, :3] = 4095
    return stored


@pytest.mark.parametrize(("padding", "limit"), [(4095, None), (4090, 4095), (4095, 4090)])
@pytest.mark.parametrize("frames", [1, 3])
def test_padding_of_an_inverted_image_is_its_least_value_too(
    frames: int, padding: int, limit: int | None, tmp_path: Path
) -> None:
    stored = _exposed(frames)
    one = _radiograph(stored if frames > 1 else stored[0], padding, limit)
    image = series.read_image(series.write(tmp_path, [one]))
    expected = 4095.0 - stored
    expected[:, 0, :3] = 4095 - 2000  # the darkest of all frames
    np.testing.assert_array_equal(image.pixels, expected)


def test_padding_of_an_inverted_image_follows_a_falling_rescale(tmp_path: Path) -> None:
    one = _radiograph(_exposed(1)[0], 4095)
    one.RescaleSlope, one.RescaleIntercept = -2, 100
    image = series.read_image(series.write(tmp_path, [one]))
    assert image.pixels[0, 0, 0] == image.pixels.min() == -2 * (4095 - 500) + 100
    assert image.pixels.max() == -2 * (4095 - 2000) + 100


def test_padding_of_an_inverted_image_with_a_table_is_its_least_value_too(tmp_path: Path) -> None:
    one = _radiograph(_exposed(1)[0], 4095)
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], list(range(0, 3 * 4096, 3))
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    one.ModalityLUTSequence = [table]
    image = series.read_image(series.write(tmp_path, [one]))
    assert image.pixels[0, 0, 0] == image.pixels.min() == 3 * (4095 - 2000)
    assert image.pixels.max() == 3 * (4095 - 500)


def test_an_inverted_frame_of_nothing_but_padding_is_dark(tmp_path: Path) -> None:
    stored = _exposed(3)
    stored[0] = 4095
    image = series.read_image(series.write(tmp_path, [_radiograph(stored, 4095)]))
    assert (image.pixels[0] == 4095 - 2000).all()


def test_padding_beyond_bits_stored_is_masked_and_no_stray_bit(tmp_path: Path) -> None:
    slices = _padded(-2000, -2000)
    for one in slices:
        one.BitsStored, one.HighBit = 12, 11
        stored = np.frombuffer(one.PixelData, np.int16) % 1000
        stored[0] = -20000
        one.PixelPaddingValue = -20000
        one.PixelData = stored.tobytes()
    volume = series.read_volume(series.write(tmp_path, slices))
    assert volume.stored.min() == 1
    assert not any("BitsStored" in warning for warning in volume.warnings)


def test_a_volume_of_nothing_but_padding_says_so(tmp_path: Path) -> None:
    slices = series.stack(3)
    for one in slices:
        one.PixelPaddingValue = -2000
        one.PixelData = np.full((series.ROWS, series.COLUMNS), -2000, np.int16).tobytes()
    volume = series.read_volume(series.write(tmp_path, slices))
    assert "every voxel holds the padding value; there is no image" in volume.warnings


@pytest.mark.parametrize("sign", [0, 1])
def test_whole_numbers_of_32_bits_stay_exact_as_stored(tmp_path: Path, sign: int) -> None:
    slices = series.stack(3)
    for number, one in enumerate(slices):
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 32, 32, 31, sign
        stored = series.pixels(number).astype("<i4") + 2**30 + 1
        one.PixelData = stored.tobytes()
    volume = series.read_volume(series.write(tmp_path, slices))
    expected = np.stack([series.pixels(number) for number in range(3)]).astype(np.int64)
    np.testing.assert_array_equal(volume.stored, expected + 2**30 + 1)
    assert any("2^24" in warning for warning in volume.warnings)
