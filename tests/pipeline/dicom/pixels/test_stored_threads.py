"""Several threads read files of one source, and each gets the file that it asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pipeline.dicom.headers.reading import read_header
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.pixels import stored
from pipeline.dicom.pixels.fragments import Spans
from pipeline.dicom.pixels.stored import Frames
from pipeline.dicom.sources.folder import Folder
from tests.pipeline.dicom import made_series as series

FIRST, SECOND = "0002.dcm", "0001.dcm"


class _Interrupted(Frames):
    """Frames whose kept file another thread replaces after every look at it, and every change."""

    _held: tuple[str, Dataset | None]

    @property
    def _dataset(self) -> tuple[str, Dataset | None]:
        held, self._held = self._held, (SECOND, Dataset())
        return held

    @_dataset.setter
    def _dataset(self, kept: tuple[str, Dataset | None]) -> None:
        self._held = kept if kept[1] is None else (SECOND, Dataset())


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
    first = reader.dataset(FIRST)
    assert first.SOPInstanceUID == slices[0].SOPInstanceUID
    reader._held = (FIRST, first)
    assert reader.dataset(FIRST) is first


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
