"""Pixels that may show a name: quarantined, blanked by a rule, or copied byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRBigEndian, JPEGLSLossless

from pipeline.deidentify import pixel_rules
from pipeline.deidentify.burned_in import risk_of
from pipeline.deidentify.instance import Method
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason
from tests.pipeline.deidentify.copies import copied, copied_file, method
from tests.pipeline.dicom import made_series

RULE = """
rules:
  - match: {manufacturer: "*", modality: "*", rows: %d, columns: %d}
    blank: [[2, 1, 3, 2], [0, 0, 1, 1]]
"""


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BurnedInAnnotation", "YES"),
        ("Modality", "US"),
        ("Modality", "OT"),
        ("Modality", ""),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
        ("ConversionType", "WSD"),
        ("PhotometricInterpretation", "PALETTE COLOR"),
        ("SamplesPerPixel", 3),
        ("SeriesDescription", "Dose Report"),
        ("ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"]),
        ("ImageType", ["ORIGINAL", "SECONDARY"]),
    ],
)
def test_images_that_may_show_a_name_are_quarantined(
    keyword: str, value: object, tmp_path: Path
) -> None:
    dataset = made_series.instance(0)
    assert risk_of(dataset) is None
    setattr(dataset, keyword, value)
    made_series.with_meta(dataset)
    with pytest.raises(FileRefused) as refused:
        copied(dataset, tmp_path)
    assert refused.value.reason is Reason.DEIDENTIFY_BURNED_IN
    assert not (tmp_path / "out.dcm").exists()


def test_a_rule_blanks_exactly_its_rectangles(tmp_path: Path) -> None:
    dataset = made_series.instance(3)
    dataset.BurnedInAnnotation = "YES"
    rules = pixel_rules.parse(RULE % (made_series.ROWS, made_series.COLUMNS))
    copy = copied(dataset, tmp_path, how=method(rules=rules))
    expected = made_series.pixels(3)
    expected[1:3, 2:5] = 0
    expected[0, 0] = 0
    assert np.array_equal(copy.pixel_array, expected)
    assert copy.BurnedInAnnotation == "NO"
    codes = [one.CodeValue for one in copy.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101"]


@pytest.mark.parametrize(
    "name", ["examples_ybr_color.dcm", "SC_rgb_jpeg_dcmtk.dcm", "examples_palette.dcm"]
)
def test_a_rule_blanks_every_frame_of_compressed_and_colour_images(
    name: str, tmp_path: Path
) -> None:
    path = Path(str(get_testdata_file(name, download=False) or ""))
    if not path.is_file():
        pytest.skip(f"{name} is not installed")
    source = dcmread(path)
    rules = pixel_rules.parse(RULE % (source.Rows, source.Columns))
    copy = dcmread(copied_file(path, method(rules=rules), tmp_path / "copy.dcm"))
    before, after = source.pixel_array, copy.pixel_array
    frames = int(source.get("NumberOfFrames", 1) or 1)
    before, after = (a.reshape(frames, source.Rows, source.Columns, -1) for a in (before, after))
    blanked = np.zeros((source.Rows, source.Columns), bool)
    blanked[1:3, 2:5] = True
    blanked[0, 0] = True
    assert not after[:, blanked].any()
    assert np.array_equal(after[:, ~blanked], before[:, ~blanked])
    assert not copy.file_meta.TransferSyntaxUID.is_compressed


def test_a_rule_that_states_a_device_clean_lets_its_images_through(tmp_path: Path) -> None:
    dataset = made_series.instance(0)
    dataset.Modality, dataset.Manufacturer = "US", "ACME Sound"
    text = "rules: [{match: {modality: us, manufacturer: 'acme*'}, clean: true}]"
    copy = copied(dataset, tmp_path, how=method(rules=pixel_rules.parse(text)))
    assert copy.PixelData == dataset.PixelData
    assert copy.BurnedInAnnotation == "NO"


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{match: {}, clean: true}]",
        "rules: [{match: {modality: US}}]",
        "rules: [{match: {modality: US}, clean: true, blank: [[0, 0, 1, 1]]}]",
        "rules: [{match: {modality: US}, blank: [[0, 0, 0, 1]]}]",
        "rules: [{match: {mode: US}, clean: true}]",
        "rules: 7",
        "rules: []\nrules: []",
        "rules: [{match: &us {modality: US}, clean: true}, {match: *us, clean: true}]",
        "[",
    ],
)
def test_rules_that_say_nothing_or_nonsense_are_refused(text: str) -> None:
    with pytest.raises(pixel_rules.RulesInvalid):
        pixel_rules.parse(text)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm"])
def test_untouched_pixels_are_copied_byte_for_byte(name: str, tmp_path: Path) -> None:
    path = Path(str(get_testdata_file(name)))
    source = dcmread(path)
    how = method(
        rules=pixel_rules.parse(f"rules: [{{match: {{rows: {source.Rows}}}, clean: true}}]")
    )
    copy = dcmread(copied_file(path, how, tmp_path / "copy.dcm"))
    assert copy.PixelData == source.PixelData
    assert copy.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID


def _drawn_on(values: np.ndarray, *, high_bit: int = 11, bit: int = 15) -> Dataset:
    """An image of 12 bits with an overlay in one of those beside them, set everywhere."""
    dataset = made_series.instance(0)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, high_bit, 0
    stored = values.astype(np.uint16) << (high_bit - 11) | np.uint16(1 << bit)
    dataset.PixelData = stored.tobytes()
    dataset.add_new(0x60000010, "US", made_series.ROWS)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", bit)
    return dataset


def _blanking() -> Method:
    return method(rules=pixel_rules.parse(RULE % (made_series.ROWS, made_series.COLUMNS)))


def _blanked(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[1:3, 2:5] = values[0, 0] = 0
    return values


def test_an_overlay_in_unused_bits_is_masked_out(tmp_path: Path) -> None:
    values = made_series.pixels(0).astype(np.uint16)
    copy = copied(_drawn_on(values), tmp_path)
    assert np.array_equal(np.frombuffer(copy.PixelData, "<u2").reshape(values.shape), values)
    assert not [tag for tag in copy.keys() if tag.group == 0x6000]  # noqa: SIM118


@pytest.mark.parametrize(("high_bit", "bit"), [(11, 15), (11, 12), (15, 0), (13, 15)])
@pytest.mark.parametrize("is_little", [True, False])
def test_an_overlay_in_unused_bits_is_masked_out_where_a_rule_blanks(
    tmp_path: Path, *, high_bit: int, bit: int, is_little: bool
) -> None:
    values = made_series.pixels(3).astype(np.uint16)
    dataset = _drawn_on(values, high_bit=high_bit, bit=bit)
    if not is_little:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    copy = copied(dataset, tmp_path, how=_blanking())
    found = np.frombuffer(copy.PixelData, "<u2").reshape(values.shape)
    assert np.array_equal(found, _blanked(values) << (high_bit - 11))


@pytest.mark.parametrize("sign", [0, 1])
def test_an_overlay_in_unused_bits_of_compressed_pixels_is_refused_whatever_the_rule(
    sign: int, tmp_path: Path
) -> None:
    dataset = _drawn_on(made_series.pixels(3))
    dataset.BitsStored, dataset.HighBit = 16, 15  # of the code stream
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, sign
    clean = method(rules=pixel_rules.parse("rules: [{match: {modality: CT}, clean: true}]"))
    for how in (clean, _blanking()):
        with pytest.raises(FileRefused, match="an overlay in unused bits") as refused:
            copied(dataset, tmp_path, how=how)
        assert refused.value.reason is Reason.DEIDENTIFY_UNSUPPORTED


def test_an_overlay_with_data_of_its_own_keeps_no_image_from_being_blanked(tmp_path: Path) -> None:
    values = made_series.pixels(3)
    dataset = made_series.instance(3)
    dataset.add_new(0x60003000, "OW", bytes(6))
    copy = copied(dataset, tmp_path, how=_blanking())
    assert np.array_equal(copy.pixel_array, _blanked(values))


def test_pixel_data_longer_than_the_header_says_hide_nothing(tmp_path: Path) -> None:
    dataset = made_series.instance(0)
    dataset.PixelData = dataset.PixelData + b"ERIKA MUSTERMANN"
    with pytest.raises(FileRefused) as refused:
        copied(dataset, tmp_path)
    assert refused.value.reason is Reason.PIXELS_LENGTH_MISMATCH


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.5.1.4.1.1.104.1",
        "1.2.840.10008.5.1.4.1.1.9.1.1",
        "1.2.840.10008.5.1.4.1.1.66",
        "1.2.840.10008.5.1.4.1.1.11.1",
        "1.2.840.10008.5.1.4.1.1.88.34",
        "1.3.46.670589.11.0.0.12.2",
    ],
)
def test_what_cannot_be_said_to_be_clean_is_refused(sop_class: str, tmp_path: Path) -> None:
    dataset: Dataset = made_series.instance(0)
    dataset.SOPClassUID = sop_class
    made_series.with_meta(dataset)
    with pytest.raises(FileRefused) as refused:
        copied(dataset, tmp_path)
    assert refused.value.reason is Reason.DEIDENTIFY_UNSUPPORTED


def test_a_comment_in_compressed_pixels_that_names_the_patient_is_refused(tmp_path: Path) -> None:
    source = dcmread(Path(str(get_testdata_file("JPEG2000.dcm"))))
    source.PatientName = "Wildermuth^Wilma"
    frame = next(generate_frames(source.PixelData, number_of_frames=1))
    comment = b"\xff\x64\x00\x0e\x00\x01wildermuth"
    size_end = 4 + int.from_bytes(frame[4:6], "big")
    source.PixelData = encapsulate([frame[:size_end] + comment + frame[size_end:]])
    how = method(rules=pixel_rules.parse("rules: [{match: {modality: '*'}, clean: true}]"))
    with pytest.raises(FileRefused) as refused:
        copied(source, tmp_path, how=how)
    assert refused.value.reason is Reason.DEIDENTIFY_UNSUPPORTED
