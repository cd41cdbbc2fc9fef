"""Several threads read files of one source, and each gets the file that it asked for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.dicom.headers.reading import read_header
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.pixels import stored
from pipeline.dicom.pixels.fragments import Spans
from pipeline.dicom.pixels.stored import Frames
from pipeline.dicom.sources.folder import Folder
from pipeline.dicom.sources.source import OpenFile
from tests.pipeline.dicom import made_series as series

FIRST, SECOND = "0002.dcm", "0001.dcm"


class _Interrupted(Frames):
    """Frames of which another thread reads the second file while the first is being read."""

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[OpenFile]:
        with super().opened(name) as file:
            yield file
        if name == FIRST:
            other = threading.Thread(target=self.dataset, args=(SECOND,))
            other.start()
            other.join()


class _Replaced(Frames):
    """Frames whose fragments another thread replaces after every look at them."""

    _seen: tuple[str, list[Spans]]

    @property
    def _spans(self) -> tuple[str, list[Spans]]:
        seen, self._seen = self._seen, (SECOND, [((7, 7),)])
        return seen

    @_spans.setter
    def _spans(self, spans: tuple[str, list[Spans]]) -> None:
        self._seen = spans


def test_a_thread_gets_its_own_data_set_while_another_reads_another_file(tmp_path: Path) -> None:
    slices = series.stack(2)
    reader = _Interrupted(Folder(series.write(tmp_path, slices)))
    assert reader.dataset(FIRST).SOPInstanceUID == slices[0].SOPInstanceUID
    assert reader.dataset(SECOND).SOPInstanceUID == slices[1].SOPInstanceUID


def test_a_thread_gets_its_own_fragments_while_another_looks_for_those_of_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = _Replaced(Folder(series.write(tmp_path, series.stack(2))))
    mine: list[Spans] = [((1, 2),)]
    monkeypatch.setattr(stored, "frames_of", lambda _file, _header: mine)
    with reader.opened(FIRST) as file:
        header = read_header(file, name=FIRST, limits=HeaderLimits())
        assert reader._frame_spans(file, header) == mine
        reader._spans = (FIRST, mine)
        assert reader._frame_spans(file, header) == mine
