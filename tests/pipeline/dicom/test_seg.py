from __future__ import annotations

import io
import itertools
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from pipeline.dicom.provenance import Provenance
from pipeline.dicom.seg import Encoding, write_seg
from pipeline.errors import StudyRejected
from pipeline.phantoms import (
    ImageKind,
    ImageParameters,
    Phantom,
    PhantomParameters,
    Tissue,
    chest,
    write_image,
    write_series,
)
from pipeline.phantoms import image as image_phantom
from pipeline.results import Code, Segment
from pipeline.volume import Image, SourceHeader, SourceInstance, Volume
from tests.pipeline.dicom import series

PROVENANCE = Provenance(
    job_id="4b1c2f0e-2f64-4a58-9c39-5d0f8f0f6a11",
    step="lungs",
    model_name="threshold-lung",
    model_version="1",
    model_digest="ab" * 32,
    software_version="0.1.0",
    created_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
)
SMALL = PhantomParameters(shape=(5, 40, 32), spacing=(3.0, 0.9, 1.7), lesions=0)


def segment(number: int, label: str = "Thing", code: Code | None = None) -> Segment:
    return Segment(number=number, label=label, voxels=0, volume_ml=0.0, centroid=None, code=code)


def header_of(paths: Sequence[Path]) -> SourceHeader:
    """Read what a reader keeps of a series, in the order of ``paths``."""
    datasets = [pydicom.dcmread(path) for path in paths]
    first = datasets[0]
    instances = tuple(
        SourceInstance(
            sop_class_uid=str(d.SOPClassUID),
            sop_instance_uid=str(d.SOPInstanceUID),
            instance_number=int(d.InstanceNumber),
            position=tuple(float(v) for v in d.ImagePositionPatient)  # type: ignore[arg-type]
            if "ImagePositionPatient" in d
            else None,
            frames=int(d.get("NumberOfFrames", 1)),
        )
        for d in datasets
    )
    return SourceHeader(
        template=template_bytes(first),
        instances=instances,
        study_instance_uid=str(first.StudyInstanceUID),
        series_instance_uid=str(first.SeriesInstanceUID),
        frame_of_reference_uid=first.get("FrameOfReferenceUID"),
        modality=str(first.Modality),
    )


def template_bytes(dataset: pydicom.Dataset) -> bytes:
    del dataset.PixelData
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def on_disk(phantom: Phantom, folder: Path) -> Volume:
    return replace(phantom.volume, header=header_of(write_series(phantom, folder).paths))


def turned(phantom: Phantom, axes: NDArray[np.float64], origin: NDArray[np.float64]) -> Phantom:
    """Give the grid of ``phantom`` other axes: columns of ``axes`` are slice, row and column."""
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(phantom.parameters.spacing)
    affine[:3, 3] = origin
    return replace(phantom, volume=replace(phantom.volume, affine=affine))


def all_axis_orders() -> list[NDArray[np.float64]]:
    """Return the 24 ways to lay row and column cosines along the patient's axes."""
    found = []
    for rows, columns in itertools.permutations(range(3), 2):
        for sign_r, sign_c in itertools.product((1.0, -1.0), repeat=2):
            column_cosine, row_cosine = np.zeros(3), np.zeros(3)
            column_cosine[rows], row_cosine[columns] = sign_r, sign_c
            normal = np.cross(row_cosine, column_cosine)
            found.append(np.stack([normal, column_cosine, row_cosine], axis=1))
    return found


def oblique() -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(7)
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(6)]
    return [np.stack([np.cross(t[:, 0], t[:, 1]), t[:, 1], t[:, 0]], axis=1) for t in turns]


def blob_centre(seg: pydicom.Dataset, number: int = 1) -> NDArray[np.float64]:
    """Find a segment's centre in LPS mm from the object alone, by PS3.3 C.7.6.2.1.1."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.asarray(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    points = []
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        holder = group if "SegmentIdentificationSequence" in group else shared
        if seg.SegmentationType == "LABELMAP":
            inside = frame == number
        elif holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            inside = frame > 0
        else:
            continue
        origin = np.asarray(group.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(inside):
            points.append(
                origin + column * between_columns * cosines[:3] + row * between_rows * cosines[3:]
            )
    return np.mean(points, axis=0)


def with_blob(shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return a label map with one small asymmetric box and the index of its middle."""
    label_map = np.zeros(shape, np.uint8)
    label_map[3:5, 30:34, 4:7] = 1
    return label_map, np.argwhere(label_map).mean(axis=0)


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


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


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


def test_a_loop_without_a_place_in_the_patient_is_refused(tmp_path: Path) -> None:
    loop = image_phantom(ImageParameters(kind=ImageKind.US, shape=(48, 40), frames=3))
    header = header_of(write_image(loop, tmp_path).paths)
    picture: Image = replace(loop.image, header=header)
    with pytest.raises(StudyRejected, match="loop"):
        write_seg(picture, loop.truth.astype(np.uint8), [segment(1)], PROVENANCE)


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


def as_multiframe(volume: Volume, order: list[int]) -> SourceHeader:
    """Return the header of an enhanced CT whose frames hold the slices in ``order``."""
    assert volume.header is not None
    dataset = read(volume.header.template)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = len(order)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = dataset.ImageOrientationPatient
    measures.PixelSpacing = dataset.PixelSpacing
    measures.SliceThickness = dataset.SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for index in order:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = list(volume.header.instances[index].position or ())
        group.PlanePositionSequence = [place]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    del dataset.ImagePositionPatient
    dataset.PixelData = b""
    instance = SourceInstance(
        sop_class_uid=EnhancedCTImageStorage,
        sop_instance_uid=str(dataset.SOPInstanceUID),
        frames=len(order),
    )
    return replace(volume.header, template=template_bytes(dataset), instances=(instance,))


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


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("is_empty", [False, True])
def test_dciodvfy_finds_no_fault(tmp_path: Path, *, is_empty: bool) -> None:
    # LABELMAP is left out: Supplement 243 is younger than the packaged dciodvfy
    volume = on_disk(chest(SMALL), tmp_path / "source")
    label_map, _ = with_blob(SMALL.shape)
    lung = Code(scheme="SCT", value="39607008", meaning="Lung")
    file = tmp_path / "seg.dcm"
    file.write_bytes(
        write_seg(volume, label_map * (not is_empty), [segment(1, "Lung", lung)], PROVENANCE)
    )
    said = subprocess.run(
        ["dciodvfy", "-new", str(file)],  # noqa: S607 - from the PATH, as any validator
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stderr.strip() == "Segmentation"


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (12.0, -25.0, 40.0), (90.0, 0.0, 90.0)])
def test_a_lesion_comes_back_where_the_phantom_put_it_through_our_own_reader(
    tmp_path: Path, rotation: tuple[float, float, float]
) -> None:
    phantom = chest(
        PhantomParameters(
            shape=(20, 40, 44),
            spacing=(5.0, 7.0, 8.0),
            lesions=1,
            radius=(12.0, 12.0),
            rotation=rotation,
        )
    )
    write_series(phantom, tmp_path)
    volume = series.read_volume(tmp_path)
    label_map = phantom.mask(Tissue.LESION).astype(np.uint8)
    seg = read(write_seg(volume, label_map, [segment(1)], PROVENANCE))
    assert np.linalg.norm(blob_centre(seg) - phantom.lesions[0].centre) < 2.5


@pytest.mark.parametrize("kind", ImageKind)
def test_images_read_by_our_own_reader_can_be_segmented(kind: ImageKind, tmp_path: Path) -> None:
    phantom = image_phantom(ImageParameters(kind=kind, shape=(48, 40)))
    write_image(phantom, tmp_path)
    label_map = phantom.truth.astype(np.uint8)
    seg = read(write_seg(series.read_image(tmp_path), label_map, [segment(1)], PROVENANCE))
    assert np.array_equal(seg.pixel_array.reshape(-1, 48, 40), label_map)
