"""Labels of series that were read onto another grid: back on the slices they were drawn on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.dicom.labels.label_read import Wanted
from pipeline.dicom.reading import read
from pipeline.dicom.writing.seg import write_seg
from pipeline.policies import Policies
from pipeline.volume import Volume
from tests.pipeline.dicom import made_series
from tests.pipeline.dicom.labels.made_labels import box, on_slice, read_bytes, structure_set
from tests.pipeline.dicom.segs import PROVENANCE, segment

READ_ALL = Policies(gantry_tilt="resample", missing_slice="resample")
ONE = (Wanted(number=1, name="Thing"), Wanted(number=2, name="Other"))


def regridded(folder: Path, numbers: Sequence[int], tilt: float) -> Volume:
    """Slices 5 mm apart, each moved down its columns by ``tilt`` mm more than the last."""
    made_series.write(
        folder,
        [
            made_series.instance(n, position=(10.0, 20.0 + tilt * n, 30.0 + 5.0 * n))
            for n in numbers
        ],
    )
    series = made_series.only_series(folder)
    volume = read(made_series.files_of(folder, series), policies=READ_ALL)
    assert isinstance(volume, Volume)
    assert volume.regridding is not None
    return volume


CASES = {
    "a gap": ([0, 1, 2, *range(5, 24)], 0.0),
    "a tilt": (list(range(8)), 0.9),
    "a tilt the other way": (list(range(8)), -1.3),
    "a tilt by half pixels": (list(range(8)), 1.0),
    "a tilt and a gap": ([0, 1, 2, 4, 5, 6, 7], 0.7),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_segmentation_comes_back_on_every_slice_of_the_source(
    case: tuple[list[int], float], tmp_path: Path
) -> None:
    volume = regridded(tmp_path / "series", *case)
    labels = np.random.default_rng(0).integers(0, 3, volume.stored.shape).astype(np.uint8)
    data = write_seg(volume, labels, [segment(1), segment(2, "Other")], PROVENANCE)
    found = read_bytes(tmp_path, data, volume).label_map(ONE)
    assert np.array_equal(volume.on_source(found), volume.on_source(labels))


def test_interpolated_slices_carry_the_label_of_the_nearest(tmp_path: Path) -> None:
    volume = regridded(tmp_path / "series", *CASES["a gap"])
    labels = np.zeros(volume.stored.shape, np.uint8)
    labels[2, 1:3, 1:4], labels[5, 3:5, 4:6] = 1, 2
    data = write_seg(volume, labels, [segment(1), segment(2, "Other")], PROVENANCE)
    found = read_bytes(tmp_path, data, volume).label_map(ONE)
    assert np.array_equal(found[3], labels[2])
    assert np.array_equal(found[4], labels[5])
    assert found[[0, 1, *range(6, 24)]].sum() == 0


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contours_on_the_slices_of_the_source_lie_where_they_are_in_the_patient(
    case: tuple[list[int], float], tmp_path: Path
) -> None:
    """Drawn on every slice of the source, a prism straight through the patient stays straight."""
    volume = regridded(tmp_path / "series", *case)
    assert volume.regridding is not None
    drawn = box((2.3, 1.5), (5.4, 6.5))
    contours = [on_slice(volume, place, drawn) for place in volume.regridding.slices]
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, structure_set({"Thing": contours}), enforce_file_format=True)
    found = read_bytes(tmp_path, buffer.getvalue(), volume).label_map(ONE)
    expected = np.zeros(volume.stored.shape, np.uint8)
    expected[:, 3:6, 2:7] = 1
    assert np.array_equal(found, expected)
