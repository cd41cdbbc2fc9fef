"""Filters: noise goes, shapes and edges stay, millimetres are those of the patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import Interrupted, ModelMismatch
from pipeline.preprocess import preparing
from tests.pipeline.preprocess import inputs
from tests.pipeline.preprocess.inputs import chain, run, values

MEDIAN = {"median": {"radius_mm": 1}}
#: one of each filter, with the parameters of a small noise
EVERY: list[dict[str, Any]] = [
    {"gaussian": {"sigma_mm": 1}},
    {"median": {"radius_mm": 2.5}},
    {"bilateral": {"radius_mm": 3, "sigma_value": 30}},
    {"non_local_means": {"strength": 10, "noise": 10, "distance_voxels": 2, "slicewise": False}},
]


def noisy(deviation: float, shape: tuple[int, int, int] = (6, 32, 32)) -> NDArray[np.float32]:
    """Return two halves along the columns, 0 and 100, in noise."""
    made = np.random.default_rng(1).normal(0, deviation, shape)
    made[..., shape[2] // 2 :] += 100
    return made.astype(np.float32)


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_noise_goes_and_the_means_of_both_sides_stay(step: dict[str, Any]) -> None:
    source = noisy(10)
    made = values(run(inputs.volume(source), step))
    for side in (slice(2, 12), slice(20, 30)):
        assert made[..., side].std() < 0.6 * source[..., side].std()
        assert made[..., side].mean() == pytest.approx(source[..., side].mean(), abs=1)


@pytest.mark.parametrize("step", [*EVERY, {"non_local_means": {"strength": 5}}], ids=str)
def test_a_flat_image_stays_as_it_is(step: dict[str, Any]) -> None:
    flat = np.full((4, 12, 12), -321, np.float32)
    np.testing.assert_allclose(values(run(inputs.volume(flat), step)), flat, rtol=1e-5)


def test_bilateral_keeps_an_edge_that_a_gaussian_blurs() -> None:
    source = inputs.volume(noisy(5))
    steep = values(run(source, {"bilateral": {"radius_mm": 2, "sigma_value": 20}}))
    blurred = values(run(source, {"gaussian": {"sigma_mm": 1}}))
    steps = [one[..., 16].mean() - one[..., 15].mean() for one in (steep, blurred)]
    assert steps[0] > 95
    assert steps[1] < 60


def test_bilateral_is_its_definition() -> None:
    source = noisy(20, (3, 6, 6))
    made = values(run(inputs.volume(source), {"bilateral": {"radius_mm": 2.5, "sigma_value": 30}}))
    # in the middle no edge is near: 2.5 mm are one slice, two rows and five columns
    wide = np.pad(source, [(1, 1), (2, 2), (5, 5)], mode="edge")
    middle = (1, 3, 3)
    total = weights = 0.0
    for index in np.ndindex(3, 5, 11):
        away = (np.array(index) - (1, 2, 5)) * inputs.SPACING
        if np.linalg.norm(away) > 2.5 + 1e-9:
            continue
        other = float(wide[tuple(np.add(middle, index))])
        value = (other - float(source[middle])) / 30
        weight = np.exp(-0.5 * (np.linalg.norm(away) / 1.25) ** 2 - 0.5 * value**2)
        total, weights = total + weight * other, weights + weight
    assert made[middle] == pytest.approx(total / weights, rel=1e-5)


def test_a_disk_stays_after_a_median_and_dots_go() -> None:
    rows, columns = np.indices((40, 40))
    disk = (rows - 20) ** 2 + (columns - 20) ** 2 <= 12**2
    picture = np.where(disk, 100, 0).astype(np.float32)
    dotted = picture.copy()
    dotted[3::7, 2::9] = 500
    made = values(run(inputs.image(dotted[None], (1.0, 1.0)), {"median": {"radius_mm": 2}}))[0]
    wrong = made != picture
    assert made.max() == 100
    assert not wrong[~(ndimage.binary_dilation(disk) & ~ndimage.binary_erosion(disk))].any()


@pytest.mark.parametrize(
    ("axis", "survives"), [(0, False), (1, False), (2, True)], ids=["slices", "rows", "columns"]
)
def test_a_median_of_1_mm_sees_what_is_1_mm_away(*, axis: int, survives: bool) -> None:
    # no slice of 2.5 mm, a row of 1 mm on either side, two columns of 0.5 mm: seven voxels, of
    # which a line along the columns has five, one along the rows three
    stored = np.zeros((9, 9, 9), np.int16)
    np.moveaxis(stored, axis, 0)[2:7, 4, 4] = 9
    assert values(run(inputs.volume(stored), MEDIAN))[4, 4, 4] == (9 if survives else 0)


@pytest.mark.parametrize(("slicewise", "expected"), [(False, 9), (True, 0)], ids=["ball", "disk"])
def test_slices_are_mixed_unless_each_is_taken_for_itself(
    *, slicewise: bool, expected: int
) -> None:
    # of the ball's seven voxels four are 9, of the disk's five two
    stored = np.zeros((3, 9, 9), np.int16)
    stored[[0, 2]] = 9
    stored[1, 4, [3, 5]] = 9
    step = {"median": {"radius_voxels": 1, "slicewise": slicewise}}
    assert values(run(inputs.volume(stored), step))[1, 4, 4] == expected


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_frames_of_an_image_are_never_mixed(step: dict[str, Any]) -> None:
    frames = np.stack([np.zeros((16, 16)), np.full((16, 16), 50.0)]).astype(np.float32)
    made = values(run(inputs.image(frames), step))
    np.testing.assert_allclose(made, frames, atol=1e-4)


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_slab_by_slab_is_as_at_once(step: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    source = inputs.volume(noisy(10, (40, 10, 10)))
    slabs = values(run(source, step))
    monkeypatch.setattr("pipeline.preprocess.filters._SLAB", 1000)
    np.testing.assert_allclose(slabs, values(run(source, step)), atol=2e-3)


@pytest.mark.parametrize(
    "step", [*EVERY, {"clahe": {"tiles": 2}}, {"canny": {"sigma_voxels": 1}}], ids=str
)
def test_a_step_can_be_stopped_between_slices(step: dict[str, Any]) -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Interrupted("canceled")

    square = inputs.volume(noisy(10, (64, 14, 14)), (1.0, 1.0, 1.0))
    with pytest.raises(Interrupted):
        preparing.prepare(square, chain(step), checkpoint=stop)


def test_a_ball_that_would_take_hours_is_refused() -> None:
    large = inputs.volume(np.zeros((60, 60, 60), np.int16), (1.0, 1.0, 1.0))
    with pytest.raises(ModelMismatch, match="median: a ball in a step is larger than 4096"):
        run(large, {"median": {"radius_mm": 12}})
