"""Read a made-up series, so that a process that has not read yet is warm.

Libraries import parts of themselves, build tables and specialise their code at first use: 30 ms
of a child that reads three slices. The server that children are forked from reads it once
(``preload``), and each child once more while it waits, which copies the pages it will write to.
"""

from __future__ import annotations

import contextlib
import functools
import io
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pipeline.dicom.headers.kept import KeptHeaders, keep
from pipeline.dicom.headers.reading import HeaderReader
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.pixels.described import source_of
from pipeline.dicom.pixels.scaling import layout_of, scale_of
from pipeline.dicom.pixels.stored import Frames
from pipeline.dicom.pixels.voxels import Grey
from pipeline.dicom.series import assembly
from pipeline.dicom.series.kinds import check_kind
from pipeline.dicom.series.splitting import has_scattered_frames_of_reference, part_of
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import OpenFile
from pipeline.policies import Policies

_SLICES: Final = 24
_UID: Final = "2.25.1"


@dataclass
class _InMemory:
    """A file that was never on a disk."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def read_into(self, offset: int, view: memoryview) -> int:
        part = self.content[offset : offset + len(view)]
        view[: len(part)] = part
        return len(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        pass


class _Made(Frames):
    """A reader of files in memory."""

    def __init__(self, files: dict[str, OpenFile]) -> None:
        super().__init__(open_source("."))
        self._open = files


def _slice(number: int) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{_UID}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _UID, f"{_UID}.0"
    dataset.FrameOfReferenceUID, dataset.Modality = _UID, "CT"
    dataset.ImageType, dataset.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "made"
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "made", "made", "20000101"
    dataset.InstanceNumber, dataset.SliceThickness = number, 1
    dataset.ImagePositionPatient = [0.5, 0.5, number]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.5, 0.5]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.Rows, dataset.Columns = 0, 2, 2
    dataset.PixelPaddingValue, dataset.PixelData = 0, np.arange(4, dtype="<u2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = io.BytesIO()
    dcmwrite(written, dataset, enforce_file_format=True)
    return written.getvalue()


def read_once() -> None:
    """Read it; nothing comes of it. Never starts a thread, so that children can be forked."""
    # Only speed: a process that cannot warm up still reads, and refuses, as ever.
    with contextlib.suppress(Exception):
        _read()


@functools.cache
def _files() -> dict[str, OpenFile]:
    return {str(number): _InMemory(_slice(number)) for number in range(1, _SLICES + 1)}


def _read() -> None:
    files = dict(_files())
    reader, headers = _Made(files), HeaderReader(HeaderLimits())
    read = [headers.read(file, name) for name, file in files.items()]
    KeptHeaders.unpack(keep(read, dict.fromkeys(files, "")))
    part = part_of(read, 0)
    check_kind(part.frames[0])
    stack = assembly.stack(part.frames)
    has_scattered_frames_of_reference(frame.header for frame in part.frames)
    slices = [part.frames[i] for i in stack.order]
    scale = scale_of(slices, reader, Policies())
    layout = layout_of(slices, scale)
    out = np.empty(stack.shape, layout.dtype)
    Grey(reader=reader, slices=slices, scale=scale, layout=layout, out=out).fill(
        lambda count, work: [work(index) for index in range(count)]
    )
    source_of(reader, slices, is_whole=False)
