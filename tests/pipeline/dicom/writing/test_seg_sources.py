from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.phantoms import (
    ImageKind,
    ImageParameters,
    chest,
    write_image,
)
from pipeline.phantoms import image as image_phantom
from pipeline.volume import Image
from tests.pipeline.dicom import made_series
from tests.pipeline.dicom.segs import (
    PROVENANCE,
    SMALL,
    as_multiframe,
    blob_centre,
    header_of,
    on_disk,
    read,
    segment,
    template_bytes,
    with_blob,
)
from tests.pipeline.dicom.writing.validator import errors, needs_dciodvfy


def spoil(dataset: Any) -> None:
    pydicom.config.settings.writing_validation_mode, before = (
        pydicom.config.IGNORE,
        pydicom.config.settings.writing_validation_mode,
    )
    try:
        dataset.StudyDate, dataset.StudyTime = "2024.13.77", "noon"
        dataset.PatientSex, dataset.PatientAge = "X", "old"
        dataset.PatientName = "Größe^Ünï"
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.add_new(0x00091001, "LO", "private")
        del dataset.AccessionNumber
        del dataset.StudyID
    finally:
        pydicom.config.settings.writing_validation_mode = before


@pytest.mark.filterwarnings("ignore:Invalid value", "ignore:A value of type")
def test_a_bad_optional_value_of_the_source_costs_nothing(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    assert volume.header is not None
    dataset = read(volume.header.template)
    dataset.PixelData = b""
    spoil(dataset)
    header = replace(volume.header, template=template_bytes(dataset))
    label_map, middle = with_blob(SMALL.shape)
    seg = read(write_seg(replace(volume, header=header), label_map, [segment(1)], PROVENANCE))
    assert str(seg.PatientName) == "Größe^Ünï"
    assert seg.SpecificCharacterSet == "ISO_IR 192"
    assert (seg.StudyDate, seg.PatientSex, seg.AccessionNumber) == ("", "", "")
    assert np.allclose(blob_centre(seg), volume.to_patient(middle), atol=1e-3)


def test_uneven_slice_positions_are_kept_as_the_source_has_them(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    assert volume.header is not None
    moved = tuple(
        replace(i, position=(p[0], p[1], p[2] + 0.002 * (n % 2)))
        for n, i in enumerate(volume.header.instances)
        if (p := i.position) is not None
    )
    label_map, _ = with_blob(SMALL.shape)
    uneven = replace(volume, header=replace(volume.header, instances=moved))
    seg = read(write_seg(uneven, label_map, [segment(1)], PROVENANCE))
    found = [
        float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        for group in seg.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(found) == pytest.approx(sorted(p.position[2] for p in moved[3:5] if p.position))


@pytest.mark.parametrize("kind", ImageKind)
def test_single_images_can_be_segmented(kind: ImageKind, tmp_path: Path) -> None:
    phantom = image_phantom(ImageParameters(kind=kind, shape=(48, 40)))
    header = header_of(write_image(phantom, tmp_path).paths)
    picture: Image = replace(phantom.image, header=header)
    label_map = phantom.truth.astype(np.uint8)
    seg = read(write_seg(picture, label_map, [segment(1)], PROVENANCE))
    assert np.array_equal(seg.pixel_array.reshape(-1, 48, 40), label_map)


@pytest.mark.parametrize("encoding", Encoding)
def test_a_loop_without_a_place_in_the_patient_refers_to_frames(
    tmp_path: Path, encoding: Encoding
) -> None:
    loop = image_phantom(ImageParameters(kind=ImageKind.US, shape=(48, 40), frames=3))
    header = header_of(write_image(loop, tmp_path).paths)
    picture: Image = replace(loop.image, header=header)
    label_map = loop.truth.astype(np.uint8)
    label_map[1] = 0
    data = write_seg(picture, label_map, [segment(1)], PROVENANCE, encoding=encoding)
    seg = read(data)
    assert "FrameOfReferenceUID" not in seg
    groups = seg.PerFrameFunctionalGroupsSequence
    images = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
    assert [image.ReferencedFrameNumber for image in images] == [1, 3]
    found = hd.seg.segread(io.BytesIO(data)).get_pixels_by_source_frame(
        header.instances[0].sop_instance_uid,
        [1, 2, 3],
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(found, label_map)


def test_a_series_without_a_frame_of_reference_gets_one_of_its_own(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    assert volume.header is not None
    nameless = replace(volume, header=replace(volume.header, frame_of_reference_uid=None))
    label_map, middle = with_blob(SMALL.shape)
    one, other = (
        read(write_seg(nameless, label_map, [segment(1)], replace(PROVENANCE, step=step)))
        for step in ("a", "b")
    )
    assert one.FrameOfReferenceUID == other.FrameOfReferenceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert np.allclose(blob_centre(one), volume.to_patient(middle), atol=1e-3)


@pytest.mark.parametrize("has_blob", [True, False])
def test_frames_of_a_multiframe_source_are_matched_by_place_not_by_order(
    tmp_path: Path, *, has_blob: bool
) -> None:
    volume = on_disk(chest(replace(SMALL, rotation=(0.0, 20.0, 0.0))), tmp_path)
    shuffled = [2, 0, 4, 1, 3]
    enhanced = replace(volume, header=as_multiframe(volume, shuffled))
    label_map, middle = with_blob(SMALL.shape)
    seg = read(write_seg(enhanced, label_map * has_blob, [segment(1)], PROVENANCE))
    assert seg.pixel_array.any() == has_blob
    if has_blob:
        assert np.linalg.norm(blob_centre(seg) - volume.to_patient(middle)) < 0.45
        frames = {
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
            for group in seg.PerFrameFunctionalGroupsSequence
        }
        assert frames == {shuffled.index(3) + 1, shuffled.index(4) + 1}


@needs_dciodvfy
def test_a_lone_slice_of_no_stated_thickness_is_referred_to_and_given_none(tmp_path: Path) -> None:
    made = made_series.stack(1)
    del made[0].SliceThickness
    image = made_series.read_image(made_series.write(tmp_path / "source", made))
    mask = np.zeros(image.pixels.shape[:3], np.uint8)
    mask[0, 2, 3] = 1
    written = write_seg(image, mask, [segment(1)], PROVENANCE)
    assert errors(written, tmp_path) == []
    seg = hd.seg.Segmentation.from_dataset(read(written))
    (reference,) = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    (source,) = reference.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == made[0].SOPInstanceUID
    assert "PixelMeasuresSequence" not in seg.SharedFunctionalGroupsSequence[0]
