"""Volumes without files, structure sets drawn on them, and the one way to read labels back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from pipeline.dicom.labels.label_read import LabelRead
from pipeline.dicom.labels.options import Options
from pipeline.dicom.labels.reading import LabelFiles, read_labels
from pipeline.volume import Input, SourceHeader, SourceInstance, Volume
from tests.pipeline.dicom.made_series import with_meta

FRAME_OF_REFERENCE = "1.2.3.9"
CT = "1.2.840.10008.5.1.4.1.1.2"

AXIAL = np.eye(3)[:, ::-1]
#: columns are the directions of slices, rows and columns
SAGITTAL = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def oblique(seed: int) -> NDArray[np.float64]:
    """Three random directions at right angles, slices along row x column cosine."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return np.stack([np.cross(turn[:, 0], turn[:, 1]), turn[:, 1], turn[:, 0]], axis=1)


def volume(
    shape: tuple[int, int, int],
    spacing: Sequence[float] = (2.0, 1.0, 1.0),
    axes: NDArray[np.float64] = AXIAL,
    origin: Sequence[float] = (-20.0, 7.5, 33.0),
) -> Volume:
    """A CT volume of zeros whose slices are instances 1, 2, ... of one frame of reference."""
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing)
    affine[:3, 3] = origin
    instances = tuple(
        SourceInstance(
            sop_class_uid=CT,
            sop_instance_uid=f"1.2.3.1.1.{number + 1}",
            instance_number=number + 1,
            position=tuple((affine @ [number, 0, 0, 1])[:3].tolist()),
        )
        for number in range(shape[0])
    )
    header = SourceHeader(
        template=b"",
        instances=instances,
        study_instance_uid="1.2.3.1",
        series_instance_uid="1.2.3.1.1",
        frame_of_reference_uid=FRAME_OF_REFERENCE,
        modality="CT",
    )
    return Volume(stored=np.zeros(shape, np.int16), affine=affine, header=header)


def read_file(path: Path, onto: Input, options: Options | None = None) -> LabelRead:
    """Read one label object, as a training would, in a child process."""
    files = LabelFiles(source=str(path), names=(path.name,))
    return read_labels(files, onto, options=options or Options())


def read_bytes(
    folder: Path, data: bytes | Sequence[bytes], onto: Input, options: Options | None = None
) -> LabelRead:
    """Write label objects to a folder and read all of them."""
    several = [data] if isinstance(data, bytes) else list(data)
    for number, one in enumerate(several):
        (folder / f"{number}.label.dcm").write_bytes(one)
    names = tuple(f"{number}.label.dcm" for number in range(len(several)))
    return read_labels(
        LabelFiles(source=str(folder), names=names), onto, options=options or Options()
    )


def structure_set(
    rois: dict[str, list[NDArray[np.float64]]], *, frame_of_reference: str = FRAME_OF_REFERENCE
) -> Dataset:
    """A structure set: by name, closed contours (n, 3) in LPS mm, as decimals of 16 characters."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, "1.2.3.7.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.7"
    dataset.Modality, dataset.StructureSetLabel = "RTSTRUCT", "drawn"
    described, drawn = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi = Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = frame_of_reference
        described.append(roi)
        item = Dataset()
        item.ReferencedROINumber = number
        item.ContourSequence = [contour(points) for points in contours]
        drawn.append(item)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = described, drawn
    return with_meta(dataset)


def contour(points: NDArray[np.float64], kind: str = "CLOSED_PLANAR") -> Dataset:
    """One contour of a structure set."""
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.10g}"[:16] for value in np.asarray(points).ravel()]
    return item


def on_slice(onto: Volume, place: float, flat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (row, column) of a slice in LPS mm."""
    index = np.column_stack([np.full(len(flat), float(place)), flat])
    return onto.to_patient(index)


def circle(centre: Sequence[float], radius: float, corners: int = 360) -> NDArray[np.float64]:
    """A circle as a polygon of the same area, (n, 2)."""
    angles = np.arange(corners) * 2.0 * np.pi / corners
    outer = radius * np.sqrt((2.0 * np.pi / corners) / np.sin(2.0 * np.pi / corners))
    return np.asarray(centre) + outer * np.column_stack([np.cos(angles), np.sin(angles)])


def box(low: Sequence[float], high: Sequence[float]) -> NDArray[np.float64]:
    """A rectangle, (4, 2)."""
    return np.array([low, (low[0], high[1]), high, (high[0], low[1])], float)
