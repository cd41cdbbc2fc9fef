"""Memory is used again without a trace of who used it before; workers die with their study."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from pipeline.dicom.limits import DecodeLimits
from pipeline.dicom.pixels import memory, parallel
from pipeline.dicom.pixels.children import NAME, children
from pipeline.dicom.reading import SeriesFiles, read
from pipeline.errors import ComputeFailed, StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Volume
from tests.pipeline.dicom import made_series as series

SIZE = 512


def _large(number: int, *, is_compressed: bool) -> Dataset:
    """A slice of which ten are worth sharing among processes."""
    one = series.instance(number)
    one.Rows = one.Columns = SIZE
    stored = np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 97 + 1000 * number
    one.PixelData = stored.astype(np.int16).tobytes()
    if is_compressed:
        one.compress(JPEG2000Lossless, generate_instance_uid=False)
    return one


def _files(folder: Path, *, is_compressed: bool) -> SeriesFiles:
    series.write(folder, [_large(n, is_compressed=is_compressed) for n in range(10)])
    return series.files_of(folder, series.only_series(folder))


def _stored(files: SeriesFiles, processes: int | None = None) -> np.ndarray:
    volume = read(files, limits=DecodeLimits(processes=processes))
    assert isinstance(volume, Volume)
    return np.array(volume.stored)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_decodes_the_same(tmp_path: Path, processes: int) -> None:
    expected = _stored(_files(tmp_path / "plain", is_compressed=False))
    found = _stored(_files(tmp_path / "j2k", is_compressed=True), processes)
    np.testing.assert_array_equal(found, expected)


def test_a_slice_that_a_worker_refuses_refuses_the_series(tmp_path: Path) -> None:
    files = _files(tmp_path, is_compressed=True)
    broken = tmp_path / files.names[7]
    content = bytearray(broken.read_bytes())
    place = content.rindex(b"\xff\x4f\xff\x51")
    content[place + 8 : place + 12] = (SIZE + 1).to_bytes(4, "big")
    broken.write_bytes(content)
    with pytest.raises(StudyRejected) as refused:
        _stored(files, processes=2)
    assert refused.value.reason is Reason.PIXELS_LENGTH_MISMATCH


def _children_of(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGSEGV, StudyRejected), (signal.SIGKILL, ComputeFailed)]
)
def test_a_worker_that_dies_while_decoding_costs_its_study_only(
    tmp_path: Path, number: signal.Signals, error: type[Exception]
) -> None:
    files = _files(tmp_path, is_compressed=True)

    def checkpoint() -> None:
        end = time.monotonic() + 2
        for decoder in _decoders():  # none, when it is asked once more after the death
            while not (workers := _children_of(decoder)) and time.monotonic() < end:
                time.sleep(0.001)
            if workers:
                os.kill(workers[0], number)

    died = None
    while died is None:  # until a worker was killed while it had work left
        died = _death(files, checkpoint)
    assert isinstance(died, error)
    assert died.reason is Reason.PIXELS_DECODER_DIED
    assert _stored(files, processes=2).shape == (10, SIZE, SIZE)


def _death(
    files: SeriesFiles, checkpoint: Callable[[], None]
) -> StudyRejected | ComputeFailed | None:
    try:
        read(files, limits=DecodeLimits(processes=2), checkpoint=checkpoint)
    except (StudyRejected, ComputeFailed) as died:
        return died
    return None


def _decoders() -> list[int]:

    return [p.pid for p in multiprocessing.active_children() if p.name == NAME and p.pid]


def test_memory_that_was_used_before_leaves_no_trace(tmp_path: Path) -> None:
    full = _files(tmp_path / "full", is_compressed=False)
    _stored(full)
    small = series.write(tmp_path / "small", series.stack())
    files = series.files_of(small, series.only_series(small))
    expected = np.stack([series.pixels(number) for number in range(5)])
    for _ in range(4):
        np.testing.assert_array_equal(_stored(files), expected)


def test_memory_returns_to_the_pool_with_the_last_view_only(tmp_path: Path) -> None:
    files = _files(tmp_path, is_compressed=False)
    volume = read(files)
    assert isinstance(volume, Volume)
    view = volume.stored[3, 5:9]
    expected = view.copy()
    del volume
    gc.collect()
    for _ in range(3):
        _stored(files)
    np.testing.assert_array_equal(view, expected)


def test_no_more_is_kept_than_a_few_volumes() -> None:
    pool = memory.Pool()
    kept = [memory.Memory() for _ in range(5)]
    for number, one in enumerate(kept, 1):
        os.ftruncate(one.descriptor, number * 4096)
        one._mapped(number * 4096)
        pool.give_back(one)
    sizes = []
    while (one := pool.take()).size:
        sizes.append(one.size)
    assert sizes == [5 * 4096, 4 * 4096]


def test_a_memory_that_a_child_has_cut_is_not_read() -> None:
    one, pool = memory.Memory(), memory.Pool()
    os.ftruncate(one.descriptor, 4096)
    with pytest.raises(ValueError, match="less memory"):
        one.array((4097,), np.dtype(np.uint8), pool)


def test_a_decoder_that_died_while_it_waited_is_replaced(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack())
    files = series.files_of(folder, series.only_series(folder))
    _stored(files)
    children.settle()
    spare = children._spare
    assert spare is not None
    spare.process.kill()
    spare.process.join()
    assert _stored(files).shape == (5, series.ROWS, series.COLUMNS)


def test_work_is_done_once_each_and_answered_in_order() -> None:
    answers = parallel.share(
        7, lambda index: {"index": index}, limits=DecodeLimits(processes=3), refusal=lambda _e: {}
    )
    assert [answer["index"] for answer in answers] == list(range(7))
