"""The child process that reads the label objects of one volume: it runs on untrusted bytes.

It answers with JSON, then with the voxels of each region as packed bits; its parent never
unpickles from it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from pipeline.dicom.headers.elements import text_of
from pipeline.dicom.labels.grid import Grid
from pipeline.dicom.labels.label_read import LabelRead, Region
from pipeline.dicom.labels.options import Options
from pipeline.dicom.labels.patches import Room
from pipeline.dicom.labels.refusal import invalid
from pipeline.dicom.labels.rtstruct import read_rtstruct
from pipeline.dicom.labels.seg import read_seg
from pipeline.dicom.labels.sr import read_sr
from pipeline.dicom.processes import confine
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import Source
from pipeline.dicom.sources.stream import stream_of
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1"
SEGMENTATIONS: Final = frozenset({f"{_STORAGE}.66.4", f"{_STORAGE}.66.7"})
STRUCTURE_SETS: Final = frozenset({f"{_STORAGE}.481.3"})
#: enhanced, comprehensive, comprehensive 3D and extensible
REPORTS: Final = frozenset({f"{_STORAGE}.88.{n}" for n in (22, 33, 34, 35)})


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to read: label objects of one source, and the grid they belong on."""

    source: str
    names: tuple[str, ...]
    grid: Grid
    options: Options


def serve(connection: Connection, order: Order) -> None:
    """Read, answer, and end."""
    limits = order.options.limits
    confine(memory_bytes=limits.memory_bytes, seconds=limits.seconds)
    regions: tuple[Region, ...] = ()
    try:
        read = _read(order)
        answer, regions = _described(read), read.regions
    except StudyRejected as rejected:
        # A file that cannot be opened is the disk's or the network's fault: worth another attempt.
        kind = "failed" if rejected.reason is Reason.FILE_UNREADABLE else "rejected"
        answer = {kind: rejected.reason.value, "sentence": rejected.sentence}
    except MemoryError:
        sentence = f"reading the label needs more than {limits.memory_bytes} bytes of memory"
        answer = {"rejected": Reason.LABEL_INVALID.value, "sentence": sentence}
    except OSError:
        sentence = "a file of the label cannot be read"
        answer = {"failed": Reason.FILE_UNREADABLE.value, "sentence": sentence}
    except Exception as error:  # noqa: BLE001
        # The edge of the process: pydicom raises whatever broken bytes make it, and a traceback
        # may quote the header, so only its kind goes on.
        sentence = f"the label cannot be read ({type(error).__name__})"
        answer = {"rejected": Reason.LABEL_INVALID.value, "sentence": sentence}
    with contextlib.suppress(BrokenPipeError):
        connection.send_bytes(json.dumps(answer).encode())
        for region in regions:
            if region.voxels.size:
                connection.send_bytes(np.packbits(region.voxels).tobytes())


def _read(order: Order) -> LabelRead:
    """Read all objects: segmentations first, because reports refer to them."""
    source = open_source(order.source)
    room = Room(left=order.options.limits.region_bytes)
    datasets = [_dataset(source, name, order.options) for name in order.names]
    is_referred = any(_sop_class(dataset) in REPORTS for dataset in datasets)
    # a report may name a segment otherwise than its segmentation does
    every = replace(order.options, wanted=None) if is_referred else order.options
    given: dict[str, LabelRead] = {}
    reads: list[LabelRead] = []
    for dataset in sorted(datasets, key=lambda one: _sop_class(one) in REPORTS):
        sop_class = _sop_class(dataset)
        if sop_class in SEGMENTATIONS:
            one = read_seg(dataset, order.grid, every, room)
            given[text_of(dataset, "SOPInstanceUID")] = one
        elif sop_class in STRUCTURE_SETS:
            one = read_rtstruct(dataset, order.grid, order.options, room)
        elif sop_class in REPORTS:
            one = read_sr(dataset, order.grid, order.options, room, given)
        else:
            raise invalid("it is no segmentation, structure set or report of measurements")
        reads.append(one)
    return _together(reads, order)


def _dataset(source: Source, name: str, options: Options) -> Dataset:
    with source.open(name) as file:
        if file.size > options.limits.file_bytes:
            sentence = f"a file of more than {options.limits.file_bytes} bytes is not read"
            raise invalid(sentence)
        # Forcing is safe here: what is no DICOM states no SOP class that is read.
        dataset = dcmread(stream_of(file), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = UID(ImplicitVRLittleEndian)
    return dataset


def _sop_class(dataset: Dataset) -> str:
    return text_of(dataset, "SOPClassUID")


def _together(reads: list[LabelRead], order: Order) -> LabelRead:
    is_wanted = order.options.is_wanted
    regions = (region for read in reads for region in read.regions)
    return LabelRead(
        shape=order.grid.shape,
        regions=tuple(region for region in regions if is_wanted(region.name, region.codes)),
        boxes=tuple(box for read in reads for box in read.boxes),
        evaluations=tuple(one for read in reads for one in read.evaluations),
        warnings=tuple(dict.fromkeys(sentence for read in reads for sentence in read.warnings)),
    )


def _described(read: LabelRead) -> dict[str, Any]:
    """Return what was read as JSON has it, regions without their voxels."""
    regions = [
        {
            "name": region.name,
            "codes": [asdict(code) for code in region.codes],
            "number": region.number,
            "start": region.start,
            "shape": region.voxels.shape,
        }
        for region in read.regions
    ]
    return {
        "regions": regions,
        "boxes": [asdict(box) for box in read.boxes],
        "evaluations": [asdict(one) for one in read.evaluations],
        "warnings": read.warnings,
    }
