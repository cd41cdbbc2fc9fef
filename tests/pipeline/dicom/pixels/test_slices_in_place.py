"""Large series, whose slices several threads read, lie where their positions say."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Volume
from tests.pipeline.dicom import made_series as series

COUNT, SIZE = 20, 512


def _slice(number: int) -> Dataset:
    one = series.instance(number)
    one.Rows = one.Columns = SIZE
    one.PixelData = np.full((SIZE, SIZE), 10 * number + 1, np.int16).tobytes()
    return one


def _files(folder: Path, slices: list[Dataset]) -> SeriesFiles:
    series.write(folder, slices)
    return series.files_of(folder, series.only_series(folder))


def _levels(files: SeriesFiles) -> list[float]:
    """Return the value of every slice, after a check that it is the same all over."""
    volume = read(files)
    assert isinstance(volume, Volume)
    assert (volume.stored == volume.stored[:, :1, :1]).all()
    return [float(value) for value in volume.stored[:, 7, 11]]


@pytest.mark.parametrize("order", ["along", "against", "shuffled", "one out of place"])
def test_slices_lie_by_their_positions_in_any_order_of_files(tmp_path: Path, order: str) -> None:
    files = _files(tmp_path, [_slice(number) for number in range(COUNT)])
    names = list(files.names)
    if order == "against":
        names.reverse()
    elif order == "shuffled":
        random.Random(3).shuffle(names)  # noqa: S311 - any order will do
    elif order == "one out of place":
        names.append(names.pop(5))
    for _ in range(3):  # memory that was used before, too
        found = _levels(dataclasses.replace(files, names=tuple(names)))
        assert found == [10 * number + 1 for number in range(COUNT)]


def test_slices_of_another_rescale_are_values_all_the_same(tmp_path: Path) -> None:
    slices = [_slice(number) for number in range(COUNT)]
    slices[9].RescaleSlope = 2
    found = _levels(_files(tmp_path, slices))
    assert found == [(10 * n + 1) * (2 if n == 9 else 1) - 1024 for n in range(COUNT)]


def test_slices_of_big_endian_files_hold_their_own_pixels(tmp_path: Path) -> None:
    slices = [_slice(number) for number in range(COUNT)]
    for one in slices:
        one.PixelData = np.frombuffer(one.PixelData, "<i2").byteswap().tobytes()
        one.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    files = _files(tmp_path, slices)
    for _ in range(3):
        assert _levels(files) == [10 * number + 1 for number in range(COUNT)]


def test_padding_is_masked_in_large_series(tmp_path: Path) -> None:
    slices = [_slice(number) for number in range(COUNT)]
    slices[4].PixelPaddingValue = 41
    assert _levels(_files(tmp_path, slices))[4] == 1


def test_a_file_that_ends_early_is_refused_though_the_scan_found_it_whole(tmp_path: Path) -> None:
    files = _files(tmp_path, [_slice(number) for number in range(COUNT)])
    path = tmp_path / files.names[7]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(StudyRejected) as refused:
        read(files)
    assert refused.value.reason is Reason.FILE_TRUNCATED
