"""Images of a training part, looked at: which of them, and the window that they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.training import planning_images
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import Case, Part
from pipeline.volume import Image, Volume
from tests.pipeline.training import video_phantoms

CT = {"is_ct": True, "is_folded": False}
USUAL = (0.5, 99.5)


def cases(folder: Path, count: int) -> list[Case]:
    return [
        Case(
            row=number + 1,
            image=folder / f"{number}.npy",
            label="",
            patient_id=f"p{number}",
            part=Part.TRAINING,
            image_digest=str(number),
            label_digest="",
        )
        for number in range(count)
    ]


def test_of_many_cases_some_are_looked_at_evenly(tmp_path: Path) -> None:
    wanted = cases(tmp_path, 100)
    for case in wanted:
        np.save(case.image, np.zeros((4, 4), np.float32))
    found = planning_images.look(wanted, **CT)
    places = [int(path.stem) for path in found]
    assert (len(found), places[0], places[-1]) == (48, 0, 99)
    assert set(np.diff(places)) == {2, 3}


def test_arrays_are_told_by_their_axes(tmp_path: Path) -> None:
    wanted = cases(tmp_path, 2)
    np.save(wanted[0].image, np.zeros((4, 5), np.float32))
    np.save(wanted[1].image, np.zeros((3, 4, 5), np.float32))
    flat, deep = planning_images.look(wanted, **CT).values()
    assert isinstance(flat, Image)
    assert isinstance(deep, Volume)
    assert flat.unit == deep.unit == "HU"


def test_all_that_cannot_be_read_is_told_by_row(tmp_path: Path) -> None:
    wanted = cases(tmp_path, 3)
    np.save(wanted[1].image, np.zeros((4, 4), np.float32))
    np.save(wanted[0].image, np.full((4, 4), np.nan))
    wanted[2].image.write_bytes(b"no array")
    with pytest.raises(ManifestInvalid) as refused:
        planning_images.look(wanted, **CT)
    assert [fault.row for fault in refused.value.faults] == [1, 3]


def test_the_window_of_a_ct_lies_between_percentiles_in_steps() -> None:
    values = np.linspace(-1024, 2976, 97 * 4001).reshape(1, 97, 4001)
    image = Image(pixels=values.astype(np.float32), unit="HU")
    assert planning_images.window([image], USUAL, is_ct=True) == (-1050, 3000)
    assert planning_images.window([image], (10.0, 90.0), is_ct=True) == (-650, 2600)


def test_bytes_are_taken_as_they_are_and_of_others_nothing_is_said() -> None:
    grey = Image(pixels=np.full((1, 4, 4), 200, np.uint8))
    assert planning_images.window([grey], USUAL, is_ct=False) == (0, 255)
    unit = Image(pixels=np.ones((1, 4, 4), np.float32))
    assert planning_images.window([unit], USUAL, is_ct=False) is None
    volume = Volume(stored=np.full((4, 4, 4), 200, np.uint8), affine=np.eye(4))
    assert planning_images.window([volume], USUAL, is_ct=False) is None


def test_colours_are_told_by_the_last_axis() -> None:
    assert planning_images.is_colour(Image(pixels=np.zeros((1, 4, 4, 3), np.uint8)))
    assert not planning_images.is_colour(Image(pixels=np.zeros((1, 4, 4), np.uint8)))


@pytest.mark.parametrize("has_colours", [True, False])
def test_videos_are_looked_at_in_their_colours(tmp_path: Path, *, has_colours: bool) -> None:
    grey = video_phantoms.frames(2)
    shown = video_phantoms.in_colours(grey) if has_colours else grey
    case = replace(cases(tmp_path, 1)[0], image=tmp_path / "a.mp4")
    video_phantoms.written(case.image, shown)
    seen = planning_images.look([case], is_ct=False, is_folded=False)[case.image]
    assert planning_images.is_colour(seen) is has_colours
    assert np.array_equal(seen.pixels, shown)
