"""Steps on values against what they must be in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelMismatch
from pipeline.volume import Image, Volume
from tests.pipeline.preprocess import inputs
from tests.pipeline.preprocess.inputs import run, values

RAMP = inputs.volume(np.arange(4 * 10 * 25, dtype=np.int16).reshape(4, 10, 25))


def test_a_z_score_has_mean_0_and_deviation_1() -> None:
    made = run(RAMP, {"normalise": {"by": "z_score"}})
    assert values(made).mean() == pytest.approx(0, abs=1e-6)
    assert values(made).std() == pytest.approx(1, abs=1e-6)
    # of 0 to 999: (n - 1) / 2 and sqrt((n^2 - 1) / 12)
    assert made.steps[0]["found"]["mean"] == pytest.approx(499.5)
    assert made.steps[0]["found"]["deviation"] == pytest.approx(288.67499)
    assert made.image.unit == ""


def test_percentiles_become_0_and_1() -> None:
    made = run(RAMP, {"normalise": {"by": "percentiles", "low": 10, "high": 90}})
    found = made.steps[0]["found"]
    assert (found["low"], found["high"]) == pytest.approx((99.9, 899.1))
    scaled = np.clip((RAMP.values() - 99.9) / 799.2, 0, 1)
    np.testing.assert_allclose(values(made), scaled, atol=1e-6)


def test_a_range_becomes_0_to_1() -> None:
    made = run(RAMP, {"normalise": {"by": "range"}})
    np.testing.assert_allclose(values(made), RAMP.values() / 999, atol=1e-6)


def test_the_background_can_be_left_out_of_what_is_measured() -> None:
    stored = np.zeros((2, 10, 10), np.int16)
    stored[:, 2:4, 2:4] = [[10, 20], [30, 40]]
    made = run(inputs.volume(stored), {"normalise": {"by": "z_score", "foreground": True}})
    assert made.steps[0]["found"]["mean"] == 25


@pytest.mark.parametrize("by", ["z_score", "percentiles", "range"])
def test_an_image_of_one_value_becomes_0(by: str) -> None:
    flat = inputs.volume(np.full((2, 4, 4), 7, np.int16))
    assert not values(run(flat, {"normalise": {"by": by, "foreground": True}})).any()


def test_a_window_clips_and_keeps_the_unit() -> None:
    made = run(RAMP, {"window": {"level": 400, "width": 200}})
    np.testing.assert_array_equal(values(made), RAMP.values().clip(300, 500))
    assert made.image.unit == "HU"


def test_stored_numbers_of_any_slope_mean_the_same() -> None:
    other = Volume(
        stored=(-2 * RAMP.stored).astype(np.int16), affine=RAMP.affine, slope=-0.5, unit="HU"
    )
    for step in ({"window": {"level": 400, "width": 200}}, {"pad": {"size": [4, 30, 30]}}):
        np.testing.assert_allclose(values(run(other, step)), values(run(RAMP, step)))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"gamma": 0.5}, lambda x: x**0.5),
        ({"brightness": 0.25}, lambda x: (x + 0.25).clip(0, 1)),
        ({"contrast": 2}, lambda x: ((x - 0.5) * 2 + 0.5).clip(0, 1)),
        ({"contrast": 0, "brightness": 0.1, "gamma": 2}, lambda x: 0 * x + 0.36),
    ],
)
def test_brightness_contrast_and_gamma(asked: dict[str, float], expected: Any) -> None:
    unit = RAMP.values().astype(np.float64) / 999
    np.testing.assert_allclose(values(run(RAMP, {"adjust": asked})), expected(unit), atol=1e-6)


def noise(shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Return values of which most are small."""
    return np.random.default_rng(5).exponential(1.0, shape).astype(np.float32)


def test_one_tile_without_a_limit_equalises_the_whole_histogram() -> None:
    picture = inputs.image(noise((256, 256))[None])
    steps = {"clahe": {"tiles": 1, "clip_limit": 1, "bins": 4096}}
    equalised = values(run(picture, steps))
    shares, _ = np.histogram(equalised, bins=10, range=(0, 1))
    # as many in each tenth as in the others
    assert np.abs(shares / equalised.size - 0.1).max() < 0.01


def test_equalising_within_a_limit_raises_contrast_less() -> None:
    faint = 0.05 * noise((64, 64))
    faint[0, 0] = 1.0
    picture = inputs.image(faint[None])
    deviations = [
        float(values(run(picture, {"clahe": {"tiles": 4, "clip_limit": limit}})).std())
        for limit in (0.01, 0.05, 1.0)
    ]
    assert deviations == sorted(deviations)
    assert deviations[0] > 1.2 * faint.std() / (faint.max() - faint.min())


def test_equalising_keeps_slices_apart() -> None:
    slices = np.stack([noise((32, 32)), np.zeros((32, 32), np.float32)])
    both = values(run(inputs.volume(slices), {"clahe": {"tiles": 2}}))
    alone = values(run(inputs.volume(slices[:1]), {"clahe": {"tiles": 2}}))
    np.testing.assert_allclose(both[0], alone[0], atol=1e-3)
    assert not both[1].any()


def test_a_volume_can_be_equalised_as_a_whole() -> None:
    ramp = np.arange(8 * 16 * 16, dtype=np.int16).reshape(8, 16, 16)
    step = {"clahe": {"tiles": 1, "slicewise": False, "clip_limit": 1}}
    made = values(run(inputs.volume(ramp), step))
    # a ramp is uniform already: it stays a ramp through all slices
    np.testing.assert_allclose(made, ramp / ramp.max(), atol=0.02)


def test_tiles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelMismatch, match="clahe: 8 tiles along each axis do not fit into 10"):
        run(RAMP, {"clahe": {}})


def test_colours_have_no_grey_values() -> None:
    colours = inputs.image(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ModelMismatch, match="window: a step reads grey values"):
        run(colours, {"window": {"level": 1, "width": 1}})


def test_values_that_are_not_finite_are_refused() -> None:
    broken = inputs.volume(np.full((2, 4, 4), np.nan, np.float32))
    with pytest.raises(ModelMismatch, match="not finite"):
        run(broken, {"normalise": {"by": "range"}})


def colours(*rgb: tuple[int, int, int]) -> Image:
    """Return two frames of one row, with these pixels and with them in reverse."""
    row = np.array([rgb, rgb[::-1]], np.uint8)
    return Image(pixels=row[:, None])


@pytest.mark.parametrize(
    ("by", "grey"), [("luma", [76.245, 149.685, 29.07, 200]), ("saturation", [255, 255, 255, 0])]
)
def test_colours_become_grey(by: str, grey: list[float]) -> None:
    source = colours((255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 200, 200))
    made = run(source, {"grey": {"by": by}}, {"window": {"level": 100, "width": 400}})
    np.testing.assert_allclose(values(made)[:, 0], [grey, grey[::-1]], rtol=1e-5)


def test_grey_values_stay_as_they_are() -> None:
    made = run(RAMP, {"grey": {}})
    np.testing.assert_array_equal(values(made), RAMP.values())
    assert made.image.unit == "HU"


def test_colours_that_are_not_grey_are_refused_where_values_are_read() -> None:
    with pytest.raises(ModelMismatch, match=r"otsu: .* has colours"):
        run(colours((1, 2, 3), (4, 5, 6)), {"otsu": {}})
