"""The times of frames from the header of a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pipeline import phantoms
from pipeline.dicom.frame_times import frame_times
from pipeline.phantoms import ImageKind, ImageParameters
from pipeline.volume import Image
from tests.pipeline.dicom.made_series import read_image, read_volume, stack, write


def times(folder: Path, **changes: Any) -> tuple[float, ...]:
    """Return those of a loop of four frames, 40 ms apart unless its header is changed."""
    loop = phantoms.image(ImageParameters(kind=ImageKind.US, shape=(16, 16), frames=4))
    (path,) = phantoms.write_image(loop, folder).paths
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return frame_times(read_image(folder))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0, 0.04, 0.08, 0.12)),
        ({"FrameTimeVector": [0, 10, 30, 5]}, (0, 0.01, 0.04, 0.045)),
        ({"FrameTimeVector": [7, 10, 30, 5]}, (0, 0.01, 0.04, 0.045)),
        ({"FrameTimeVector": [0, 10, 30]}, (0, 0.04, 0.08, 0.12)),
        ({"FrameTimeVector": [0, 10, -30, 5]}, (0, 0.04, 0.08, 0.12)),
        ({"FrameTime": None, "CineRate": 50}, (0, 0.02, 0.04, 0.06)),
        ({"FrameTime": 0, "CineRate": 0}, ()),
        ({"FrameTime": None}, ()),
    ],
)
def test_frames_have_the_times_that_the_cine_module_states(
    tmp_path: Path, changes: dict[str, Any], expected: tuple[float, ...]
) -> None:
    assert times(tmp_path, **changes) == pytest.approx(expected)


def test_what_is_no_loop_has_no_times(tmp_path: Path) -> None:
    assert frame_times(Image(pixels=np.zeros((3, 8, 8), np.float32))) == ()
    still = phantoms.image(ImageParameters(kind=ImageKind.US, shape=(16, 16)))
    phantoms.write_image(still, tmp_path / "still")
    assert frame_times(read_image(tmp_path / "still")) == ()
    assert frame_times(read_volume(write(tmp_path / "volume", stack()))) == ()
