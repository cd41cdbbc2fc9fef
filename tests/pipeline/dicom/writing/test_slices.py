"""The slices that frames refer to: enhanced, regridded, tilted, without a frame of reference."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from pipeline.dicom.writing.parametric_map import write_parametric_map
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.phantoms import ImageKind, ImageParameters, chest, write_image
from pipeline.phantoms import image as image_phantom
from pipeline.results import ValueMap
from pipeline.volume import Regridding, Volume
from tests.pipeline.dicom.segs import (
    PROVENANCE,
    SMALL,
    as_multiframe,
    header_of,
    made_volume,
    on_disk,
    read,
    segment,
    with_blob,
)


def filled_gap() -> Volume:
    """A volume of five slices whose source lacks the third."""
    volume = made_volume((5, 6, 7))
    assert volume.header is not None
    kept = (0, 1, 3, 4)
    instances = tuple(volume.header.instances[index] for index in kept)
    return replace(
        volume,
        header=replace(volume.header, instances=instances),
        regridding=Regridding(shape=(4, 6, 7), slices=kept, shifts=((0.0, 0.0),) * 4),
    )


def tilted() -> Volume:
    """Slices of 6 x 7 whose rows are one further down each time, on a grid of 9 x 7."""
    volume = made_volume((4, 9, 7))
    assert volume.header is not None
    instances = tuple(
        replace(
            one, position=tuple(volume.to_patient(np.array([index, float(index), 0.0])).tolist())
        )
        for index, one in enumerate(volume.header.instances)
    )
    shifts = tuple((float(index), 0.0) for index in range(4))
    return replace(
        volume,
        header=replace(volume.header, instances=instances),
        regridding=Regridding(shape=(4, 6, 7), slices=(0, 1, 2, 3), shifts=shifts),
    )


@pytest.mark.parametrize("encoding", Encoding)
def test_slices_that_were_filled_in_are_not_written(encoding: Encoding) -> None:
    volume = filled_gap()
    label_map = np.zeros((5, 6, 7), np.uint8)
    label_map[:, 2, 3] = 1
    data = write_seg(volume, label_map, [segment(1)], PROVENANCE, encoding=encoding)
    seg = read(data)
    assert volume.header is not None
    assert seg.NumberOfFrames == 4
    for instance, group in zip(
        volume.header.instances, seg.PerFrameFunctionalGroupsSequence, strict=True
    ):
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID == instance.sop_instance_uid
        place = group.PlanePositionSequence[0].ImagePositionPatient
        assert place == pytest.approx(instance.position)
    # there is no one distance between the slices of the source
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert "SpacingBetweenSlices" not in measures


@pytest.mark.parametrize("encoding", Encoding)
def test_frames_of_a_tilted_source_lie_on_its_slices(encoding: Encoding) -> None:
    volume = tilted()
    label_map = np.zeros((4, 9, 7), np.uint8)
    label_map[:, 5, 3] = 1
    seg = read(write_seg(volume, label_map, [segment(1)], PROVENANCE, encoding=encoding))
    assert (seg.Rows, seg.Columns) == (6, 7)
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.asarray(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    for index, (frame, group) in enumerate(
        zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True)
    ):
        ((row, column),) = np.argwhere(frame)
        origin = np.asarray(group.PlanePositionSequence[0].ImagePositionPatient, float)
        found = origin + column * between_columns * cosines[:3] + row * between_rows * cosines[3:]
        assert np.allclose(found, volume.to_patient(np.array([index, 5.0, 3.0])), atol=1e-6)


def test_a_parametric_map_goes_back_to_the_slices_of_the_source_too() -> None:
    values = np.random.default_rng(0).random((5, 6, 7), np.float32)
    one = ValueMap(name="Heat", values=values)
    dataset = read(write_parametric_map(filled_gap(), [one], PROVENANCE)[0])
    stored = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(4, 6, 7)
    assert np.array_equal(stored, values[[0, 1, 3, 4]])


def test_highdicom_finds_frames_of_an_enhanced_source_by_their_number(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    shuffled = [2, 0, 4, 1, 3]
    enhanced = replace(volume, header=as_multiframe(volume, shuffled))
    label_map, _ = with_blob(SMALL.shape)
    data = write_seg(enhanced, label_map, [segment(1)], PROVENANCE)
    seg = read(data)
    assert enhanced.header is not None
    # one instance, though it is behind every slice
    (referenced,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    uid = enhanced.header.instances[0].sop_instance_uid
    assert referenced.ReferencedSOPInstanceUID == uid
    found = hd.seg.segread(io.BytesIO(data)).get_pixels_by_source_frame(
        uid, [1, 2, 3, 4, 5], combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(found, label_map[shuffled])


def test_geometry_is_copied_as_the_source_states_it() -> None:
    volume = made_volume((3, 4, 5))
    assert volume.header is not None
    orientation = (0.9999999, 0.0, 0.0004, 0.0, 1.0, 0.0)
    header = replace(volume.header, orientation=orientation, pixel_spacing=(0.748, 0.511))
    seg = read(
        write_seg(
            replace(volume, header=header),
            np.ones((3, 4, 5), np.uint8),
            [segment(1)],
            PROVENANCE,
        )
    )
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert tuple(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == orientation
    measures = shared.PixelMeasuresSequence[0]
    assert tuple(measures.PixelSpacing) == (0.748, 0.511)
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (3, 2.5)


@pytest.mark.parametrize("kind", [ImageKind.US, ImageKind.CR])
def test_an_image_without_a_place_has_no_frame_of_reference_but_its_reference(
    kind: ImageKind, tmp_path: Path
) -> None:
    phantom = image_phantom(ImageParameters(kind=kind, shape=(48, 40)))
    header = header_of(write_image(phantom, tmp_path).paths)
    # as some senders do: a frame of reference without any position in it
    nowhere = replace(phantom.image, header=replace(header, frame_of_reference_uid="1.2.3"))
    seg = read(write_seg(nowhere, phantom.truth.astype(np.uint8), [segment(1)], PROVENANCE))
    assert "FrameOfReferenceUID" not in seg
    (shared,) = seg.SharedFunctionalGroupsSequence
    assert len(shared) == 0
    (group,) = seg.PerFrameFunctionalGroupsSequence
    assert "PlanePositionSequence" not in group
    image = group.DerivationImageSequence[0].SourceImageSequence[0]
    assert image.ReferencedSOPInstanceUID == header.instances[0].sop_instance_uid
    assert "ReferencedFrameNumber" not in image


def test_a_loop_of_other_instances_than_frames_is_refused(tmp_path: Path) -> None:
    phantom = image_phantom(ImageParameters(kind=ImageKind.US, shape=(48, 40), frames=3))
    header = header_of(write_image(phantom, tmp_path).paths)
    two = replace(phantom.image, header=replace(header, instances=header.instances * 2))
    with pytest.raises(ValueError, match="3 slices but 2 instances"):
        write_seg(two, phantom.truth.astype(np.uint8), [segment(1)], PROVENANCE)
