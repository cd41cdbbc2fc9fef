from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.phantoms import (
    chest,
)
from pipeline.results import Code, Segment
from tests.pipeline.dicom.segs import (
    PROVENANCE,
    SMALL,
    all_axis_orders,
    blob_centre,
    made_volume,
    oblique,
    on_disk,
    read,
    segment,
    turned,
    with_blob,
)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("axes", [*all_axis_orders(), *oblique()])
def test_a_blob_stays_where_it_is_in_the_patient(
    axes: NDArray[np.float64], encoding: Encoding, tmp_path: Path
) -> None:
    phantom = turned(chest(SMALL), axes, np.array([-31.25, 12.5, 77.0]))
    volume = on_disk(phantom, tmp_path)
    label_map, middle = with_blob(SMALL.shape)
    data = write_seg(volume, label_map, [segment(1)], PROVENANCE, encoding=encoding)
    found = blob_centre(pydicom.dcmread(io.BytesIO(data)))
    assert np.linalg.norm(found - volume.to_patient(middle)) < min(SMALL.spacing) / 2


def test_highdicom_reads_the_same_volume_back(tmp_path: Path) -> None:
    phantom = chest(replace(SMALL, rotation=(15.0, -10.0, 25.0)))
    volume = on_disk(phantom, tmp_path)
    label_map, _ = with_blob(SMALL.shape)
    data = write_seg(volume, label_map, [segment(1)], PROVENANCE)
    read = hd.seg.segread(io.BytesIO(data)).get_volume(combine_segments=True)
    found = np.argwhere(np.asarray(read.array) == 1).astype(float)
    centre = (read.affine @ np.append(found.mean(axis=0), 1.0))[:3]
    middle = np.argwhere(label_map).mean(axis=0)
    assert np.allclose(centre, volume.to_patient(middle), atol=1e-3)


def test_a_second_write_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    label_map, _ = with_blob(SMALL.shape)
    for encoding in Encoding:
        one, other = (
            write_seg(volume, label_map, [segment(1)], PROVENANCE, encoding=encoding)
            for _ in range(2)
        )
        assert one == other


def test_another_model_writes_another_object(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    label_map, _ = with_blob(SMALL.shape)
    one, other = (
        read(write_seg(volume, label_map, [segment(1)], replace(PROVENANCE, model_digest=digest)))
        for digest in ("aa" * 32, "bb" * 32)
    )
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID


def test_an_empty_map_is_a_valid_statement(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    for encoding in Encoding:
        seg = read(
            write_seg(
                volume,
                np.zeros(SMALL.shape, np.uint8),
                [segment(1), segment(2)],
                PROVENANCE,
                encoding=encoding,
            )
        )
        assert not seg.pixel_array.any()
        assert {int(item.SegmentNumber) for item in seg.SegmentSequence} >= {1, 2}
        assert volume.header is not None
        referenced = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert [item.ReferencedSOPInstanceUID for item in referenced] == [
            instance.sop_instance_uid for instance in volume.header.instances
        ]


def test_every_frame_names_the_slice_it_came_from(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    label_map, _ = with_blob(SMALL.shape)
    seg = read(write_seg(volume, label_map, [segment(1)], PROVENANCE))
    assert volume.header is not None
    places = {i.sop_instance_uid: i.position for i in volume.header.instances}
    found = set()
    for group in seg.PerFrameFunctionalGroupsSequence:
        item = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.SpatialLocationsPreserved == "YES"
        uid = item.ReferencedSOPInstanceUID
        assert places[uid] == pytest.approx(group.PlanePositionSequence[0].ImagePositionPatient)
        found.add(uid)
    assert found == {instance.sop_instance_uid for instance in volume.header.instances[3:5]}


def test_gaps_in_the_numbers_are_closed_and_colours_kept(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    label_map, middle = with_blob(SMALL.shape)
    label_map[label_map == 1] = 4
    label_map[0, 0, 0] = 2
    seg = read(write_seg(volume, label_map, [segment(4, "far"), segment(2, "near")], PROVENANCE))
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["near", "far"]
    assert np.allclose(blob_centre(seg, 2), volume.to_patient(middle), atol=1e-3)
    assert np.allclose(blob_centre(seg, 1), volume.to_patient(np.zeros(3)), atol=1e-3)


def test_it_says_who_made_it_and_that_it_is_a_demonstration(tmp_path: Path) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    label_map, _ = with_blob(SMALL.shape)
    lung = Code(scheme="SCT", value="39607008", meaning="Lung")
    nodule = Code(scheme="SCT", value="27925004", meaning="Nodule")
    label_map[0, 1, 1] = 2
    seg = read(
        write_seg(
            volume,
            label_map,
            [segment(1, "Lung", lung), segment(2, "Nodule", nodule)],
            replace(PROVENANCE, is_demonstration=True),
        )
    )
    first, second = seg.SegmentSequence
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("threshold-lung", "1")
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "39607008"
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert second.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert "DEMONSTRATION" in seg.ContentDescription
    assert "not for clinical use" in seg.ContentDescription
    assert seg.PatientID == "PHANTOM-0"
    assert volume.header is not None
    assert seg.StudyInstanceUID == volume.header.study_instance_uid
    assert seg.FrameOfReferenceUID == volume.header.frame_of_reference_uid
    assert first.TrackingUID != second.TrackingUID
    assert (seg.ContentDate, seg.ContentTime) == ("20260304", "050607")


@pytest.mark.parametrize(
    ("label_map", "segments", "sentence"),
    [
        (np.zeros((5, 40, 31), np.uint8), [segment(1)], "has shape"),
        (np.full((5, 40, 32), 3, np.uint8), [segment(1)], r"labels \[3\]"),
        (np.zeros((5, 40, 32), np.uint8), [], "at least one segment"),
    ],
)
def test_what_cannot_be_right_is_refused(
    label_map: NDArray[np.uint8], segments: list[Segment], sentence: str, tmp_path: Path
) -> None:
    volume = on_disk(chest(SMALL), tmp_path)
    with pytest.raises(ValueError, match=sentence):
        write_seg(volume, label_map, segments, PROVENANCE)
    with pytest.raises(ValueError, match="header"):
        write_seg(replace(volume, header=None), label_map, segments or [segment(1)], PROVENANCE)


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("Lung\\left", "Lung/left"),
        ("Lung\n left\x00", "Lung left"),
        ("", "Segment 1"),
        ("Ж" * 100, "Ж" * 64),
    ],
)
def test_a_label_that_dicom_cannot_hold_is_written_as_it_can(label: str, written: str) -> None:
    label_map = np.ones((2, 5, 7), np.uint8)
    described = replace(segment(1), label=label)
    seg = read(write_seg(made_volume((2, 5, 7)), label_map, [described], PROVENANCE))
    assert seg.SegmentSequence[0].SegmentLabel == written
