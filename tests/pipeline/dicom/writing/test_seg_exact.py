"""Bit for bit: what is read back is the label map, by three readers that are not ours."""

from __future__ import annotations

import io
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody does
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydicom import config
from pydicom.pixels import pixel_array
from pydicom.uid import MultiFrameGrayscaleByteSecondaryCaptureImageStorage

from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.seg_fractional import write_fractional_seg
from pipeline.results import ValueMap
from tests.pipeline.dicom.segs import PROVENANCE, made_volume, segment

#: of labels 0, 2, 5 and 9: with gaps; slices and labels may be missing; 5 x 7 pixels and the like
NUMBERS = (2, 5, 9)
LABEL_MAPS = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from((0, 0, *NUMBERS)))
)
SEGMENTS = [segment(number, f"Thing {number}") for number in NUMBERS]


def renumbered(label_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.searchsorted((0, *NUMBERS), label_map).astype(np.uint8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
@given(label_map=LABEL_MAPS, encoding=st.sampled_from(Encoding))
def test_highdicom_reads_every_label_map_back_by_source_instance(
    label_map: NDArray[np.uint8], encoding: Encoding
) -> None:
    volume = made_volume(label_map.shape)
    data = write_seg(volume, label_map, SEGMENTS, PROVENANCE, encoding=encoding)
    assert volume.header is not None
    found = hd.seg.segread(io.BytesIO(data)).get_pixels_by_source_instance(
        [instance.sop_instance_uid for instance in volume.header.instances],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(found, renumbered(label_map))


def whole_map() -> NDArray[np.uint8]:
    """Labels 2 and 9 in a corner each, so that the whole grid is in the object."""
    label_map = np.random.default_rng(1).choice((0, 2, 9), (4, 5, 7)).astype(np.uint8)
    label_map[[0, -1], 0, 0] = 2, 9
    return label_map


def labelmap(label_map: NDArray[np.uint8]) -> bytes:
    volume = made_volume(label_map.shape)
    return write_seg(volume, label_map, SEGMENTS, PROVENANCE, encoding=Encoding.LABELMAP)


@pytest.mark.parametrize("encoding", Encoding)
def test_highdicom_reads_the_volume_with_its_affine(encoding: Encoding) -> None:
    label_map = whole_map()
    volume = made_volume(label_map.shape)
    data = write_seg(volume, label_map, SEGMENTS, PROVENANCE, encoding=encoding)
    found = hd.seg.segread(io.BytesIO(data)).get_volume(combine_segments=True)
    ours = hd.Volume(
        array=renumbered(label_map),
        affine=volume.affine,
        coordinate_system="PATIENT",
        frame_of_reference_uid="1.2.3.9",
    )
    matched = found.match_geometry(ours)
    assert np.array_equal(matched.array, ours.array)
    assert np.allclose(matched.affine, volume.affine, atol=1e-9)


@pytest.mark.parametrize("encoding", Encoding)
def test_pydicom_finds_no_fault_when_strict(encoding: Encoding) -> None:
    label_map = whole_map()
    data = write_seg(
        made_volume(label_map.shape), label_map, SEGMENTS, PROVENANCE, encoding=encoding
    )
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.RAISE
    try:
        seg = pydicom.dcmread(io.BytesIO(data))
        seg.decode()
        written = io.BytesIO()
        seg.save_as(written, enforce_file_format=True)
    finally:
        config.settings.reading_validation_mode = before
    assert written.getvalue() == data
    assert seg.BitsAllocated == (1 if encoding is Encoding.BINARY else 8)


@pytest.mark.parametrize("decoder", ["pydicom", "pylibjpeg"])
def test_each_decoder_of_run_lengths_gives_the_same_labels(decoder: str) -> None:
    label_map = whole_map()
    data = labelmap(label_map)
    found = pixel_array(io.BytesIO(data), decoding_plugin=decoder)
    assert np.array_equal(found, renumbered(label_map))


def test_itk_reads_the_labels_of_a_labelmap(tmp_path: Path) -> None:
    # it refuses the SOP class of Supplement 243, which is younger; the pixels are of any class
    label_map = whole_map()
    seg = pydicom.dcmread(io.BytesIO(labelmap(label_map)))
    seg.SOPClassUID = MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID
    seg.save_as(tmp_path / "seg.dcm")
    found = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "seg.dcm"))
    assert np.array_equal(found, renumbered(label_map))


def test_itk_reads_the_bits_of_every_frame(tmp_path: Path) -> None:
    label_map = whole_map()
    file = tmp_path / "seg.dcm"
    file.write_bytes(write_seg(made_volume(label_map.shape), label_map, SEGMENTS, PROVENANCE))
    found = sitk.GetArrayFromImage(sitk.ReadImage(file)) > 0
    # segment 2 of 3 is nowhere
    assert np.array_equal(found, np.concatenate([label_map == 2, label_map == 9]))


def test_itk_places_a_fractional_object_as_the_source_lies(tmp_path: Path) -> None:
    volume = made_volume((4, 5, 7))
    steps = np.random.default_rng(2).integers(1, 256, (4, 5, 7))
    probabilities = ValueMap(name="Thing", values=(steps / 255).astype(np.float32))
    file = tmp_path / "seg.dcm"
    file.write_bytes(write_fractional_seg(volume, [probabilities], [segment(1)], PROVENANCE))
    image = sitk.ReadImage(file)
    assert np.array_equal(sitk.GetArrayFromImage(image), steps)
    corner = image.TransformIndexToPhysicalPoint((6, 4, 3))
    assert np.allclose(corner, volume.to_patient(np.array([3.0, 4.0, 6.0])), atol=1e-6)
