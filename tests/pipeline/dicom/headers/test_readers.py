"""Header readers: every file is answered for, and one that ends its reader costs itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.dicom.headers.answers import Answer, Indexed, Refusal
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.readers import HeaderReaders
from pipeline.dicom.limits import HeaderLimits
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return series.write(tmp_path, series.stack(300))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _readers(folder: Path, processes: int = 2, **limits: float) -> HeaderReaders:
    return HeaderReaders(
        str(folder),
        processes=processes,
        limits=HeaderLimits(**limits),  # type: ignore[arg-type]
        salt=b"",
    )


def _collect(answers: Iterable[tuple[str, Answer]]) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for name, answer in answers:
        assert name not in found
        found[name] = answer
    return found


def test_every_file_is_answered_for_once(folder: Path) -> None:
    (folder / "0000.txt").write_text("no DICOM")
    with _readers(folder) as readers:
        answers = _collect(readers.read(_names(folder)))
    assert sorted(answers) == _names(folder)
    refused = {name: a for name, a in answers.items() if isinstance(a, Refusal)}
    assert refused == {
        "0000.txt": Refusal(reason=Reason.FILE_NOT_DICOM, sentence="it is not a DICOM file")
    }
    positions = set()
    for name, answer in answers.items():
        if isinstance(answer, Indexed):
            header = InstanceHeader.unpack(answer.packed)
            assert (header.path, header.sop_instance_uid) == (name, answer.sop_instance_uid)
            positions.add(header.position)
    assert len(positions) == 300


def test_no_names_start_no_process(folder: Path) -> None:
    with _readers(folder) as readers:
        assert list(readers.read([])) == []
        assert not readers._readers


def test_long_names_travel_in_more_messages(tmp_path: Path) -> None:
    folder = tmp_path / "/".join(["f" * 200] * 10)
    series.write(folder, series.stack(40))
    names = [f"{folder.relative_to(tmp_path)}/{name}" for name in _names(folder)]
    with _readers(tmp_path, processes=1) as readers:
        assert sorted(_collect(readers.read(names))) == sorted(names)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_file_that_ends_or_holds_its_reader_costs_itself(
    folder: Path, number: signal.Signals
) -> None:
    names = _names(folder)
    with _readers(folder, processes=1, seconds=1.0) as readers:
        found: dict[str, Answer] = {}
        for name, answer in readers.read(names):
            if not found:
                process = readers._readers[0].process
                assert process.pid is not None
                os.kill(process.pid, number)
            found[name] = answer
    refused = [answer for answer in found.values() if isinstance(answer, Refusal)]
    assert sorted(found) == names
    assert len(refused) <= 1  # none, where it had answered for all before
    reason = Reason.FILE_BAD_HEADER if number == signal.SIGKILL else Reason.FILE_UNREADABLE
    assert all(answer.reason is reason for answer in refused)
    assert not [p for p in multiprocessing.active_children() if "decoder" not in p.name]


def test_a_dead_reader_names_the_file_by_its_counter(folder: Path) -> None:
    names = _names(folder)
    with _readers(folder, processes=1) as readers:
        readers._feed(iter(names))
        (reader,) = readers._readers
        reader.process.kill()
        reader.process.join()
        reader.done.value = 5
        answers = _collect(readers.read([]))
    refused = [name for name, answer in answers.items() if isinstance(answer, Refusal)]
    assert refused == [names[5]]
    assert sorted(answers) == names[:256]
