"""Label objects that were damaged on purpose: an answer or a refusal, never anything else."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.dicom.labels.label_read import LabelRead
from pipeline.dicom.labels.limits import LabelLimits
from pipeline.dicom.labels.options import Options
from pipeline.dicom.pixels.children import NAME, SPARE_NAME
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.sr import write_sr
from pipeline.errors import ComputeFailed, Interrupted, PipelineError, StudyRejected
from pipeline.phantoms import chest
from pipeline.reasons import Reason
from pipeline.results import Detection
from pipeline.volume import Volume
from tests.pipeline.dicom.labels.made_labels import (
    LabelFiles,
    circle,
    on_slice,
    read_bytes,
    read_labels,
    structure_set,
)
from tests.pipeline.dicom.segs import PROVENANCE, SMALL, on_disk, segment


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return on_disk(chest(SMALL), tmp_path_factory.mktemp("series"))


def kinds(source: Volume) -> dict[str, bytes]:
    labels = np.random.default_rng(0).integers(0, 3, SMALL.shape).astype(np.uint8)
    segments = [segment(1), segment(2)]
    box = Detection(
        label="x",
        score=0.5,
        index_box=(1.0, 2.0, 3.0, 3.0, 9.0, 9.0),
        centre=tuple(source.to_patient(np.array([1.5, 5.0, 5.5])).tolist()),  # type: ignore[arg-type]
        size=(6.0, 6.3, 10.2),
    )
    assert source.header is not None
    drawn = [on_slice(source, place, circle((20, 15), 9)) for place in range(4)]
    frame = source.header.frame_of_reference_uid or ""
    buffer = io.BytesIO()
    rt = structure_set({"x": drawn}, frame_of_reference=frame)
    pydicom.dcmwrite(buffer, rt, enforce_file_format=True)
    return {
        "BINARY": write_seg(source, labels, segments, PROVENANCE),
        "LABELMAP": write_seg(source, labels, segments, PROVENANCE, encoding=Encoding.LABELMAP),
        "RTSTRUCT": buffer.getvalue(),
        "SR": write_sr(source, [box], PROVENANCE, segmentation=None),
    }


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "RTSTRUCT", "SR"])
def test_a_damaged_object_is_read_or_refused(kind: str, source: Volume, tmp_path: Path) -> None:
    data, rng = kinds(source)[kind], np.random.default_rng(7)
    for number in range(12):
        bytes_ = bytearray(data)
        for place in rng.integers(132, len(data), 1 + number):
            bytes_[place] = int(rng.integers(256))
        damaged = bytes(bytes_[: rng.integers(200, len(data))] if number % 3 == 2 else bytes_)
        try:
            found = read_bytes(tmp_path, damaged, source)
        except PipelineError as refused:
            assert refused.reason.value.split(".")[0] in {"label", "file", "pixels"}  # noqa: PT017
        else:
            assert isinstance(found, LabelRead)


def test_more_memory_than_allowed_is_a_refusal(source: Volume, tmp_path: Path) -> None:
    """A polygon of a hundred thousand corners, up and down over all rows of the image."""
    assert source.header is not None
    corners = np.column_stack([np.tile([0.0, 39.0], 50_000), np.linspace(0, 31, 100_000)])
    frame = source.header.frame_of_reference_uid or ""
    rt = structure_set({"x": [on_slice(source, 2, corners)]}, frame_of_reference=frame)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, rt, enforce_file_format=True)
    limits = LabelLimits(memory_bytes=60 * 2**20)
    with pytest.raises(StudyRejected) as caught:
        read_bytes(tmp_path, buffer.getvalue(), source, Options(limits=limits))
    assert caught.value.reason is Reason.LABEL_INVALID


def test_regions_that_together_are_too_large_are_a_refusal(source: Volume, tmp_path: Path) -> None:
    limits = LabelLimits(region_bytes=100)
    with pytest.raises(StudyRejected) as caught:
        read_bytes(tmp_path, kinds(source)["BINARY"], source, Options(limits=limits))
    assert caught.value.reason is Reason.LABEL_INVALID


def test_a_file_larger_than_allowed_is_a_refusal(source: Volume, tmp_path: Path) -> None:
    limits = LabelLimits(file_bytes=1000)
    with pytest.raises(StudyRejected) as caught:
        read_bytes(tmp_path, kinds(source)["SR"], source, Options(limits=limits))
    assert caught.value.reason is Reason.LABEL_INVALID


def test_a_read_without_time_fails_and_may_be_tried_again(source: Volume, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(kinds(source)["BINARY"])
    files = LabelFiles(source=str(tmp_path), names=("a.dcm",))

    def hold() -> None:
        for child in multiprocessing.active_children():
            if child.pid is not None and child.name not in (NAME, SPARE_NAME):
                os.kill(child.pid, signal.SIGSTOP)

    with pytest.raises(ComputeFailed) as caught:
        read_labels(
            files, source, options=Options(limits=LabelLimits(seconds=0.2)), checkpoint=hold
        )
    assert caught.value.reason is Reason.PIXELS_DECODER_TIMEOUT


def test_whoever_asks_can_stop_a_read(source: Volume, tmp_path: Path) -> None:
    def stop() -> None:
        raise Interrupted("asked to stop")

    (tmp_path / "a.dcm").write_bytes(kinds(source)["BINARY"])
    files = LabelFiles(source=str(tmp_path), names=("a.dcm",))
    with pytest.raises(Interrupted):
        read_labels(files, source, checkpoint=stop)


def test_a_link_or_a_missing_file_is_not_read(source: Volume, tmp_path: Path) -> None:
    (tmp_path / "target.dcm").write_bytes(kinds(source)["SR"])
    (tmp_path / "link.dcm").symlink_to(tmp_path / "target.dcm")
    for name in ("link.dcm", "missing.dcm", "../outside.dcm"):
        with pytest.raises(PipelineError):
            read_labels(LabelFiles(source=str(tmp_path), names=(name,)), source)
