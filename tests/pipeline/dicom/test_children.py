"""A decoder or header reader that dies, hangs or lies costs one read or one file, never us."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from pipeline.dicom.headers.process import Answer, Refusal
from pipeline.dicom.headers.readers import HeaderReaders
from pipeline.dicom.limits import DecodeLimits, HeaderLimits
from pipeline.dicom.pixels.children import NAME, SPARE_NAME, children
from pipeline.dicom.reading import SeriesFiles, read
from pipeline.errors import ComputeFailed, Interrupted, StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Input, Volume
from tests.pipeline.dicom import made_series as series


@pytest.fixture
def files(tmp_path: Path) -> SeriesFiles:
    folder = series.write(tmp_path, series.stack())
    return series.files_of(folder, series.only_series(folder))


def _decoders() -> list[BaseProcess]:
    """Return the processes that are reading now; the one that waits for the next is none."""
    children.settle()
    return [child for child in multiprocessing.active_children() if child.name == NAME]


class _Held:
    """The process that will do the next read, held so that its answer cannot come first."""

    def __init__(self, files: SeriesFiles) -> None:
        read(files)  # after a read somebody waits for the next, whatever was before
        children.settle()
        (spare,) = (c for c in multiprocessing.active_children() if c.name == SPARE_NAME)
        assert spare.pid is not None
        self._pid = spare.pid
        self._is_held = True
        os.kill(self._pid, signal.SIGSTOP)

    def send(self, number: signal.Signals) -> None:
        """Signal it, the first time this is called, and let it go on."""
        if self._is_held:
            self._is_held = False
            os.kill(self._pid, number)
            if number is not signal.SIGSTOP:
                os.kill(self._pid, signal.SIGCONT)


def _read_while(files: SeriesFiles, number: signal.Signals) -> Input:
    held = _Held(files)
    return read(files, checkpoint=lambda: held.send(number))


def _open_files() -> int:
    children.settle()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_decoder_that_crashes_refuses_its_series_only(files: SeriesFiles) -> None:
    with pytest.raises(StudyRejected) as refused:
        _read_while(files, signal.SIGSEGV)
    assert refused.value.reason is Reason.PIXELS_DECODER_DIED
    assert read(files).warnings == ()


def test_a_decoder_that_is_killed_from_outside_may_be_tried_again(files: SeriesFiles) -> None:
    with pytest.raises(ComputeFailed) as failed:
        _read_while(files, signal.SIGKILL)
    assert failed.value.reason is Reason.PIXELS_DECODER_DIED


def test_a_decoder_that_is_ended_from_outside_may_be_tried_again(files: SeriesFiles) -> None:
    with pytest.raises(ComputeFailed) as failed:
        _read_while(files, signal.SIGTERM)
    assert failed.value.reason is Reason.PIXELS_DECODER_DIED


def test_what_stops_everything_counts_before_the_death_of_a_decoder(files: SeriesFiles) -> None:
    held, asked = _Held(files), 0

    def checkpoint() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Interrupted("the worker stops")
        held.send(signal.SIGSEGV)

    with pytest.raises(Interrupted):
        read(files, checkpoint=checkpoint)


def test_a_decoder_that_hangs_is_ended(files: SeriesFiles) -> None:
    _Held(files)
    with pytest.raises(ComputeFailed) as failed:
        read(files, limits=DecodeLimits(seconds=0.2))
    assert failed.value.reason is Reason.PIXELS_DECODER_TIMEOUT
    assert not _decoders()


def test_a_canceled_read_ends_its_child(files: SeriesFiles) -> None:
    def cancel() -> None:
        raise Interrupted("canceled")

    with pytest.raises(Interrupted):
        read(files, checkpoint=cancel)
    assert not _decoders()


def test_reads_leave_no_open_files_behind(files: SeriesFiles) -> None:
    counts = []
    for _ in range(4):  # the first rounds fill the pool of memory
        read(files)
        with pytest.raises(StudyRejected):
            _read_while(files, signal.SIGABRT)
        counts.append(_open_files())
    assert counts[-1] == counts[-2]


def test_voxels_outlive_their_reader(files: SeriesFiles) -> None:
    volumes = [read(files) for _ in range(3)]
    expected = np.stack([series.pixels(number) for number in range(5)])
    for volume in volumes:
        assert isinstance(volume, Volume)
        np.testing.assert_array_equal(volume.stored, expected)


def test_several_threads_read_at_once(files: SeriesFiles) -> None:
    sums: list[int] = []

    def work() -> None:
        volume = read(files)
        assert isinstance(volume, Volume)
        sums.append(int(volume.stored.sum()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sums) == 4
    assert len(set(sums)) == 1


def test_a_file_that_has_gone_may_come_back(files: SeriesFiles) -> None:
    Path(files.source, files.names[2]).unlink()
    with pytest.raises(ComputeFailed) as failed:
        read(files)
    assert failed.value.reason is Reason.FILE_UNREADABLE


def test_a_file_that_became_another_series_is_refused(files: SeriesFiles, tmp_path: Path) -> None:
    other = series.instance(2)
    other.SeriesInstanceUID = "1.2.3.77"
    series.write(tmp_path / "other", [other])
    (tmp_path / "other" / "0001.dcm").replace(Path(files.source, files.names[2]))
    with pytest.raises(StudyRejected) as refused:
        read(files)
    assert refused.value.reason is Reason.FILE_BAD_HEADER


def test_memory_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    slices = series.stack(3)
    for one in slices:
        one.Rows = one.Columns = 2048
        one.PixelData = bytes(2 * 2048 * 2048)
    folder = series.write(tmp_path, slices)
    files = series.files_of(folder, series.only_series(folder))
    with pytest.raises(StudyRejected) as refused:
        read(files, limits=DecodeLimits(memory_bytes=2**24))
    assert refused.value.reason is Reason.PIXELS_TOO_LARGE


def test_a_header_reader_that_dies_costs_one_file(tmp_path: Path) -> None:
    folder = series.write(tmp_path, series.stack(40))
    names = sorted(path.name for path in folder.iterdir())
    before = multiprocessing.active_children()
    limits = HeaderLimits()
    answers: dict[str, Answer] = {}
    with HeaderReaders(str(folder), processes=1, limits=limits, salt=b"") as readers:
        for name, answer in readers.read(names):
            if not answers:
                readers._readers[0].process.kill()
            answers[name] = answer
    refused = [answer for answer in answers.values() if isinstance(answer, Refusal)]
    assert sorted(answers) == names
    assert len(refused) <= 1  # none, where it had answered for all before it died
    assert all(answer.reason is Reason.FILE_BAD_HEADER for answer in refused)
    assert not [child for child in multiprocessing.active_children() if child not in before]


def test_a_program_that_has_read_ends(files: SeriesFiles) -> None:
    script = (
        "from pipeline.dicom.reading import SeriesFiles, read\n"
        "if __name__ == '__main__':\n"
        f"    read({files!r})\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
