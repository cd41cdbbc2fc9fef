from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from pipeline.dicom.reading import read
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from tests.data import shared
from tests.pipeline.dicom import made_series as series


def _expected(count: int = 5) -> np.ndarray:
    return np.stack([series.pixels(number) for number in range(count)])


def test_a_volume_lies_where_its_slices_say(tmp_path: Path) -> None:
    volume = series.read_volume(series.write(tmp_path, series.stack()))
    np.testing.assert_array_equal(volume.stored, _expected())
    assert volume.stored.dtype == np.int16
    assert (volume.slope, volume.intercept, volume.unit) == (1.0, -1024.0, "HU")
    # 2 mm between rows, 0.5 mm between columns: row 3, column 4 of slice 2
    index = np.array([2.0, 3.0, 4.0])
    np.testing.assert_allclose(volume.to_patient(index), [10 + 4 * 0.5, 20 + 3 * 2.0, 30 + 2 * 5.0])


def test_the_source_header_names_the_instances_in_slice_order(tmp_path: Path) -> None:
    volume = series.read_volume(series.write(tmp_path, series.stack()))
    assert volume.header is not None
    uids = [f"{series.SERIES}.{number + 1}" for number in range(5)]
    assert [one.sop_instance_uid for one in volume.header.instances] == uids
    assert [one.position for one in volume.header.instances][1] == (10.0, 20.0, 35.0)
    template = dcmread(io.BytesIO(volume.header.template))
    assert template.SOPInstanceUID == uids[0]
    assert "PixelData" not in template
    assert template.PatientName == "Canary^Patient"


def test_the_same_files_give_the_same_template(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack())
    headers = [series.read_volume(folder).header for _ in range(2)]
    assert headers[0] == headers[1]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_oblique_stacks_keep_every_voxel_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    random = np.random.default_rng(seed)
    cosines = Rotation.random(random_state=random).as_matrix()
    origin, step = random.uniform(-300, 300, 3), random.uniform(0.4, 6.0)
    normal = np.cross(cosines[0], cosines[1])
    slices = [series.instance(number) for number in range(4)]
    for number, one in enumerate(slices):
        one.ImageOrientationPatient = [f"{v:.9f}"[:16] for v in (*cosines[0], *cosines[1])]
        one.ImagePositionPatient = [f"{v:.6f}" for v in origin + number * step * normal]
    volume = series.read_volume(series.write(tmp_path_factory.mktemp("oblique"), slices))
    for number, row, column in ((0, 0, 0), (3, 5, 7), (1, 2, 6)):
        place = origin + number * step * normal + column * 0.5 * cosines[0] + row * 2 * cosines[1]
        np.testing.assert_allclose(
            volume.to_patient(np.array([number, row, column])), place, atol=1e-3
        )
        assert volume.stored[number, row, column] == series.pixels(number)[row, column]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_changes_nothing(tmp_path: Path, syntax: str) -> None:
    slices, planes = series.stack(), [series.pixels(number, 36, 40) for number in range(5)]
    for one, plane in zip(slices, planes, strict=True):
        one.Rows, one.Columns, one.PixelData = 36, 40, plane.tobytes()
        one.compress(syntax, generate_instance_uid=False)
    volume = series.read_volume(series.write(tmp_path, slices))
    np.testing.assert_array_equal(volume.stored, np.stack(planes))
    assert volume.stored.dtype == np.int16


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_change_nothing(tmp_path: Path, syntax: str) -> None:
    slices = series.stack()
    for one in slices:
        one.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(
        series.read_volume(series.write(tmp_path, slices)).stored, _expected()
    )


def test_big_endian_changes_nothing(tmp_path: Path) -> None:
    slices = series.stack()
    for number, one in enumerate(slices):
        one.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        one.PixelData = series.pixels(number).byteswap().tobytes()
        one["PixelData"].VR = "OW"
    volume = series.read_volume(series.write(tmp_path, slices))
    np.testing.assert_array_equal(volume.stored, _expected())


def test_slopes_that_differ_give_values_as_float32(tmp_path: Path) -> None:
    slices = series.stack()
    for number, one in enumerate(slices):
        one.RescaleSlope = number + 1
    volume = series.read_volume(series.write(tmp_path, slices))
    expected = _expected() * np.arange(1, 6)[:, None, None] - 1024.0
    assert (volume.stored.dtype, volume.slope) == (np.dtype(np.float32), 1.0)
    np.testing.assert_allclose(volume.values(), expected)


def test_bits_above_bits_stored_are_no_part_of_a_pixel(tmp_path: Path) -> None:
    slices = series.stack()
    for number, one in enumerate(slices):
        one.BitsStored, one.HighBit = 12, 11
        stored = series.pixels(number) % 2048
        one.PixelData = (stored | 0x4000).astype(np.int16).tobytes()
    volume = series.read_volume(series.write(tmp_path, slices))
    np.testing.assert_array_equal(volume.stored, _expected() % 2048)
    assert any("BitsStored" in warning for warning in volume.warnings)


def test_twelve_bit_signed_values_keep_their_sign(tmp_path: Path) -> None:
    slices = series.stack()
    for one in slices:
        one.BitsStored, one.HighBit = 12, 11
        one.PixelData = np.full((series.ROWS, series.COLUMNS), 0x0F00, np.uint16).tobytes()
    volume = series.read_volume(series.write(tmp_path, slices))
    assert volume.stored.min() == volume.stored.max() == -256


def test_monochrome1_keeps_the_values_of_a_volume_and_inverts_an_image(tmp_path: Path) -> None:
    slices = series.stack()
    for one in slices:
        one.PhotometricInterpretation = "MONOCHROME1"
    volume = series.read_volume(series.write(tmp_path / "volume", slices))
    np.testing.assert_array_equal(volume.stored, _expected())
    image = series.read_image(series.write(tmp_path / "image", slices[:1]))
    # 16 bits signed: the range is -32768 .. 32767, its ends swap places
    np.testing.assert_allclose(image.pixels[0], -1.0 - series.pixels(0) - 1024.0)


def test_phases_at_the_same_positions_become_volumes_of_their_own(tmp_path: Path) -> None:
    slices = [*series.stack(4), *(series.instance(4 + n) for n in range(4))]
    for number, one in enumerate(slices):
        one.ImagePositionPatient = [0, 0, 3.0 * (number % 4)]
        one.TemporalPositionIdentifier = 1 + number // 4
    (study,) = series.scanned(series.write(tmp_path, slices)).studies
    assert [(s.part, s.verdict, len(s.instances)) for s in study.series] == [
        (0, Reason.OK, 4),
        (1, Reason.OK, 4),
    ]


def test_too_many_voxels_are_refused_before_decoding(tmp_path: Path) -> None:
    from pipeline.dicom.limits import DecodeLimits

    folder = series.write(tmp_path, series.stack())
    files = series.files_of(folder, series.only_series(folder))
    with pytest.raises(StudyRejected) as refused:
        read(files, limits=DecodeLimits(pixels=5 * series.ROWS * series.COLUMNS - 1))
    assert refused.value.reason is Reason.PIXELS_TOO_LARGE


def test_a_real_chest_ct_lies_where_simpleitk_finds_it() -> None:
    itk = pytest.importorskip("SimpleITK")
    folder = shared("dicom", "ct_chest_lidc0314", "series")
    volume = series.read_volume(folder)
    reader = itk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    np.testing.assert_array_equal(volume.values(), itk.GetArrayFromImage(image))
    for index in ((0, 0, 0), (59, 511, 511), (10, 200, 300)):
        place = image.TransformIndexToPhysicalPoint((index[2], index[1], index[0]))
        np.testing.assert_allclose(volume.to_patient(np.array(index)), place, atol=1e-3)
