"""Sources for segmentations, and where a blob of a written one lies."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from pipeline.dicom.writing.provenance import Provenance
from pipeline.phantoms import (
    Phantom,
    PhantomParameters,
    write_series,
)
from pipeline.results import Code, Segment
from pipeline.volume import SourceHeader, SourceInstance, Volume

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


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


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
    instances = tuple(
        replace(
            one,
            sop_class_uid=EnhancedCTImageStorage,
            sop_instance_uid=str(dataset.SOPInstanceUID),
            frames=len(order),
            frame=order.index(index) + 1,
        )
        for index, one in enumerate(volume.header.instances)
    )
    return replace(volume.header, template=template_bytes(dataset), instances=instances)


def made_volume(shape: tuple[int, int, int]) -> Volume:
    """Return a small oblique CT volume of any shape with its header; nothing is written."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    axes = np.stack([np.cross(turn[:, 0], turn[:, 1]), turn[:, 1], turn[:, 0]], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = axes * (2.5, 0.75, 0.5)
    affine[:3, 3] = -100.25, 3.5, 12.125
    instances = tuple(
        SourceInstance(
            sop_class_uid=CTImageStorage,
            sop_instance_uid=f"1.2.3.1.1.{index + 1}",
            position=tuple((affine @ (index, 0, 0, 1))[:3].tolist()),
        )
        for index in range(shape[0])
    )
    header = SourceHeader(
        template=template_bytes(_ct_slice()),
        instances=instances,
        study_instance_uid="1.2.3.1",
        series_instance_uid="1.2.3.1.1",
        frame_of_reference_uid="1.2.3.9",
        modality="CT",
        orientation=(*axes[:, 2].tolist(), *axes[:, 1].tolist()),
        pixel_spacing=(0.75, 0.5),
    )
    return Volume(stored=np.zeros(shape, np.int16), affine=affine, unit="HU", header=header)


def _ct_slice() -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3.1.1.1"
    dataset.PatientID, dataset.PatientName = "P1", "Canary^Patient"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20240102", "030405", "1"
    dataset.Manufacturer, dataset.BodyPartExamined = "Maker", "CHEST"
    dataset.Laterality, dataset.SliceThickness = "", "3"
    dataset.PixelData = b""
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
