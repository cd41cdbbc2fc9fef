"""Thresholds, growing, edges and morphology on shapes that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ModelMismatch
from tests.pipeline.preprocess import inputs
from tests.pipeline.preprocess.inputs import run, values

ABOVE = {"threshold": {"minimum": 50}}


def mask_of(source: Any, *steps: dict[str, Any]) -> NDArray[np.bool_]:
    made = run(source, *steps)
    assert made.image.unit == ""
    assert np.isin(values(made), (0, 1)).all()
    return np.asarray(values(made) == 1)


def boxes(*places: tuple[slice, slice, slice], value: int = 100) -> NDArray[np.int16]:
    made = np.zeros((12, 24, 24), np.int16)
    for place in places:
        made[place] = value
    return made


BOX = np.s_[2:8, 5:15, 4:12]
OTHER = np.s_[9:11, 17:20, 16:22]


def test_both_ends_of_a_threshold_belong() -> None:
    ramp = inputs.volume(np.arange(64, dtype=np.int16).reshape(4, 4, 4))
    found = mask_of(ramp, {"threshold": {"minimum": 10, "maximum": 20}})
    assert list(np.flatnonzero(found)) == list(range(10, 21))


def test_otsu_parts_two_gaussians_in_their_middle() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(0, 25, 20_000), random.normal(100, 25, 20_000)
    stored = np.concatenate([first, second]).astype(np.float32).reshape(4, 100, 100)
    made = run(inputs.volume(stored), {"otsu": {}})
    assert made.steps[0]["found"]["value"] == pytest.approx(50, abs=2)
    assert values(made).mean() == pytest.approx(0.5, abs=0.01)
    below = mask_of(inputs.volume(stored), {"otsu": {"keep": "below"}})
    np.testing.assert_array_equal(below, values(made) == 0)


@pytest.mark.parametrize(
    "seed",
    [
        {"seed_minimum": 150},
        {"seed_minimum": 150, "seed_maximum": 250},
        # the voxel (4, 9, 7), by its centre and off it
        {"seed_mm": [-30 + 7 * 0.5, 14 + 9, 250 + 4 * 2.5]},
        {"seed_mm": [-30 + 7.4 * 0.5, 14 + 8.6, 250 + 4.4 * 2.5]},
    ],
    ids=str,
)
def test_growing_fills_exactly_the_box_that_holds_the_seed(seed: dict[str, Any]) -> None:
    stored = boxes(BOX, OTHER)
    stored[4, 9, 7] = 200
    made = run(inputs.volume(stored), {"grow": {"minimum": 50, **seed}})
    np.testing.assert_array_equal(values(made) == 1, boxes(BOX) > 0)
    assert made.steps[0]["found"] == {"regions": 1}


def test_a_seed_outside_of_the_range_grows_nothing() -> None:
    stored = boxes(BOX, OTHER)
    stored[4, 9, 7] = 200
    grow = {"minimum": 50, "maximum": 150, "seed_minimum": 150.5}
    assert not mask_of(inputs.volume(stored), {"grow": grow}).any()


def test_corners_connect_where_they_are_asked_to() -> None:
    touching = boxes(np.s_[2:4, 2:4, 2:4], np.s_[4:6, 4:6, 4:6])
    touching[2, 2, 2] = 200
    grow = {"minimum": 50, "seed_minimum": 150}
    assert mask_of(inputs.volume(touching), {"grow": grow}).sum() == 8
    grow["connected_by"] = "corners"  # type: ignore[assignment]
    assert mask_of(inputs.volume(touching), {"grow": grow}).sum() == 16


def test_a_seed_beyond_the_image_is_refused() -> None:
    step = {"grow": {"minimum": 1, "seed_mm": [500, 0, 0]}}
    with pytest.raises(ModelMismatch, match="grow: the seed of grow lies outside"):
        run(inputs.volume(boxes(BOX)), step)


def test_the_edge_of_a_disk_is_its_rim() -> None:
    rows, columns = np.indices((64, 64))
    away = np.hypot(rows - 31.5, columns - 31.5)
    picture = inputs.image(np.where(away < 20, 100, 0).astype(np.float32)[None], (1.0, 1.0))
    edge = mask_of(picture, {"canny": {"sigma_mm": 1}})[0]
    assert np.abs(away[edge] - 20).max() < 1.5
    angles = np.degrees(np.arctan2(*(np.argwhere(edge) - 31.5).T))
    assert np.diff(np.sort(angles)).max() < 6
    # one pixel wide: about as many as the rim is long
    assert edge.sum() < 1.2 * 2 * np.pi * 20


def test_edges_want_square_pixels() -> None:
    with pytest.raises(ModelMismatch, match="canny reads square pixels"):
        run(inputs.volume(boxes(BOX)), {"canny": {"sigma_mm": 1}})


def test_opening_takes_what_is_thinner_than_the_ball() -> None:
    # a line one row, 1 mm, thick
    stored = boxes(np.s_[2:10, 4:20, 2:22])
    stored[5, 2, :] = 100
    opened = mask_of(inputs.volume(stored), ABOVE, {"open": {"radius_mm": 1}})
    assert not opened[:, 2].any()
    # a box loses nothing along its axes but corners
    assert opened[5, 12, 2:22].all()
    assert opened[5, 4:20, 12].all()
    assert opened[2:10, 12, 12].all()
    assert not (opened & (stored == 0)).any()


def test_closing_fills_gaps_narrower_than_the_ball_in_millimetres() -> None:
    stored = boxes(np.s_[2:10, 4:20, 2:22])
    # a slit two columns wide is 1 mm, one of four rows 4 mm
    slit, gap = stored.copy(), stored.copy()
    slit[:, :, 10:12] = 0
    gap[:, 10:14, :] = 0
    closed = mask_of(inputs.volume(slit), ABOVE, {"close": {"radius_mm": 1}})
    np.testing.assert_array_equal(closed[:, 6:18], (stored > 0)[:, 6:18])
    still = mask_of(inputs.volume(gap), ABOVE, {"close": {"radius_mm": 1}})
    assert not still[:, 11:13].any()


def test_a_mask_that_reaches_the_border_is_not_worn_away_there() -> None:
    stored = np.full((6, 10, 10), 100, np.int16)
    stored[:, :, :5] = 0
    for step in ("open", "close"):
        kept = mask_of(inputs.volume(stored), ABOVE, {step: {"radius_mm": 2}})
        np.testing.assert_array_equal(kept, stored > 0)


@pytest.mark.parametrize("slicewise", [False, True], ids=["ball", "disk"])
@pytest.mark.parametrize("step", ["open", "close"])
def test_small_and_large_balls_are_made_alike(
    step: str, *, slicewise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(4).random((9, 30, 28)).astype(np.float32)
    steps: list[dict[str, Any]] = [
        {"gaussian": {"sigma_voxels": 1}},
        {"threshold": {"minimum": 0.5}},
        {step: {"radius_mm": 2.6, "slicewise": slicewise}},
    ]
    shifted = mask_of(inputs.volume(random), *steps)
    before = mask_of(inputs.volume(random), *steps[:2])
    assert (shifted != before).sum() > 50
    monkeypatch.setattr("pipeline.preprocess.morphology._SHIFTED", 0)
    np.testing.assert_array_equal(shifted, mask_of(inputs.volume(random), *steps))


def test_holes_are_filled_in_space_or_in_every_slice() -> None:
    stored = boxes(BOX)
    stored[3:5, 8:10, 7:9] = 0  # enclosed
    stored[2:8, 12, 10] = 0  # a channel along the slices
    whole = mask_of(inputs.volume(stored), ABOVE, {"fill_holes": {}})
    expected = boxes(BOX) > 0
    expected[2:8, 12, 10] = False
    np.testing.assert_array_equal(whole, expected)
    slices = mask_of(inputs.volume(stored), ABOVE, {"fill_holes": {"slicewise": True}})
    np.testing.assert_array_equal(slices, boxes(BOX) > 0)


@pytest.mark.parametrize(("count", "kept"), [(1, [BOX]), (2, [BOX, OTHER]), (5, [BOX, OTHER])])
def test_the_largest_components_stay(count: int, kept: list[Any]) -> None:
    source = inputs.volume(boxes(BOX, OTHER))
    found = mask_of(source, ABOVE, {"largest": {"count": count}})
    np.testing.assert_array_equal(found, boxes(*kept) > 0)


def test_an_empty_mask_stays_empty() -> None:
    steps: list[dict[str, Any]] = [
        {"largest": {}},
        {"open": {"radius_mm": 2}},
        {"close": {"radius_mm": 2}},
        {"fill_holes": {}},
    ]
    source = inputs.volume(np.zeros((4, 8, 8), np.int16))
    assert not mask_of(source, ABOVE, *steps).any()


def test_frames_of_an_image_are_masks_of_their_own() -> None:
    frames = np.zeros((2, 12, 12), np.float32)
    frames[0, 1:9, 1:9] = 100
    frames[1, 1:4, 1:4] = 100
    frames[1, 6:8, 6:8] = 100
    picture = inputs.image(frames)
    largest = mask_of(picture, ABOVE, {"largest": {}})
    np.testing.assert_array_equal(largest[0], frames[0] > 0)
    assert largest[1].sum() == 9
    frames[0, 2, 2] = 200
    grown = mask_of(picture, {"grow": {"minimum": 50, "seed_minimum": 150}})
    assert grown[0].sum() == 64
    assert not grown[1].any()


def test_a_mask_is_resampled_to_a_mask() -> None:
    source = inputs.volume(boxes(BOX))
    found = mask_of(source, ABOVE, {"resample": {"spacing_mm": 0.9}}, {"pad": {"margin_mm": 2}})
    assert found.sum() * 0.9**3 == pytest.approx(6 * 2.5 * 10 * 8 * 0.5, rel=0.1)
