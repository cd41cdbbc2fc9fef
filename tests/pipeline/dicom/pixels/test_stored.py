"""A file that frames are read from is opened once, not once for every frame."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, RLELossless

from pipeline.dicom.headers.reading import read_header
from pipeline.dicom.limits import DecodeLimits, HeaderLimits
from pipeline.dicom.pixels.parallel import share
from pipeline.dicom.pixels.stored import Frames
from pipeline.dicom.series.frames import frames_of
from pipeline.dicom.sources.archive_zip import ZipArchive
from pipeline.dicom.sources.folder import Folder
from pipeline.dicom.sources.source import OpenFile
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.sources import archives

COUNT = 30
NAMES = ("0001.dcm", "0002.dcm")


class _Archive(ZipArchive):
    """An archive that notes what is opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.noted: list[str] = []

    def open(self, name: str) -> OpenFile:
        self.noted.append(name)
        return super().open(name)


def _loop(number: int, *, is_compressed: bool) -> Dataset:
    one = series.instance(number)
    one.SOPClassUID, one.Modality = UID("1.2.840.10008.5.1.4.1.1.12.1"), "XA"
    one.NumberOfFrames = COUNT
    one.PixelData = b"".join(series.pixels(number + n).tobytes() for n in range(COUNT))
    series.with_meta(one)
    if is_compressed:
        one.compress(RLELossless, generate_instance_uid=False)
    return one


def _written(folder: Path, *, is_compressed: bool = False) -> tuple[Folder, _Archive]:
    """Return two loops in a folder, and the same in a deflated archive."""
    series.write(folder / "in", [_loop(n, is_compressed=is_compressed) for n in range(2)])
    members = [(name, (folder / "in" / name).read_bytes()) for name in NAMES]
    return Folder(folder / "in"), _Archive(archives.zipped(folder / "x.zip", members))


def _frames(reader: Frames, name: str) -> NDArray[Any]:
    with reader.opened(name) as file:
        (first,) = frames_of(read_header(file, name=name, limits=HeaderLimits()))
    out = np.zeros((COUNT, series.ROWS, series.COLUMNS), np.int16)
    for number in range(COUNT):
        reader.read(dataclasses.replace(first, number=number), out[number], set())
    return out


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_member_of_an_archive_is_inflated_once_for_all_its_frames(
    tmp_path: Path, *, is_compressed: bool
) -> None:
    folder, archive = _written(tmp_path, is_compressed=is_compressed)
    plain, inflated = Frames(folder), Frames(archive)
    for name in NAMES:
        expected, found = _frames(plain, name), _frames(inflated, name)
        np.testing.assert_array_equal(found, expected)
    assert expected.any()
    assert archive.noted == list(NAMES)


def test_a_member_is_let_go_of_when_another_is_opened(tmp_path: Path) -> None:
    _, archive = _written(tmp_path)
    reader = Frames(archive)
    with reader.opened(NAMES[0]) as first:
        assert first.read_at(128, 4) == b"DICM"
    with reader.opened(NAMES[1]) as second:
        assert second.read_at(128, 4) == b"DICM"
    with pytest.raises(ValueError, match="closed"):
        first.read_at(128, 4)


def test_threads_do_not_share_the_place_in_a_member(tmp_path: Path) -> None:
    _, archive = _written(tmp_path)
    reader = Frames(archive)
    with ThreadPoolExecutor(1) as thread:
        mine, theirs = reader.opened(NAMES[0]), thread.submit(reader.opened, NAMES[0]).result()
    with mine as one, theirs as other:
        assert one is not other


def test_forked_processes_do_not_share_the_place_in_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.dicom.sources.inflating._IN_MEMORY", 1000)
    folder, archive = _written(tmp_path)
    reader = Frames(archive)
    with reader.opened(NAMES[0]) as before:
        assert before.read_at(128, 4) == b"DICM"

    def work(_index: int) -> dict[str, Any]:
        with reader.opened(NAMES[0]) as file:
            assert file.read_at(128, 4) == b"DICM"
            return {"is_shared": file is before, "opened": len(archive.noted)}

    answers = share(4, work, limits=DecodeLimits(processes=2), refusal=lambda _e: {})
    assert answers == [{"is_shared": False, "opened": 2}] * 4
    with before:  # nothing else closes it before the process ends
        with reader.opened(NAMES[0]) as after:
            assert after is before
        np.testing.assert_array_equal(_frames(reader, NAMES[0]), _frames(Frames(folder), NAMES[0]))
