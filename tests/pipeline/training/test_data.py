"""Prepared cases and drawn patches: prediction's own grid, and randomness by place alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import phantoms
from pipeline.models import detection as predicting
from pipeline.models import preprocess
from pipeline.models.spec import InputSpec
from pipeline.phantoms import PhantomParameters, Tissue
from pipeline.training import (
    data,
    detection,
    recipe,
    segmentation,
)
from pipeline.training.boxes import Box
from tests import quick_training

CHEST = PhantomParameters(
    shape=(16, 64, 60), spacing=(6.0, 5.0, 5.3), seed=2, lesions=2, rotation=(5.0, 8.0, -4.0)
)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@given(epoch=st.integers(0, 50))
def test_every_patch_of_an_epoch_is_drawn_once_and_in_the_same_order_always(epoch: int) -> None:
    wanted = recipe.check(quick_training.SEGMENTATION | {"patches": 3})
    first, second = (data.draws(wanted, _places(5), epoch) for _ in range(2))
    assert [draw.case for draw in first] == [draw.case for draw in second]
    assert sorted(draw.case for draw in first) == sorted([*range(5)] * 3)
    assert [draw.random.random() for draw in first] == [draw.random.random() for draw in second]


def test_two_epochs_have_other_orders() -> None:
    wanted = recipe.check(quick_training.SEGMENTATION)
    orders = [[draw.case for draw in data.draws(wanted, _places(30), epoch)] for epoch in (0, 1)]
    assert orders[0] != orders[1]


def test_batches_begin_where_they_are_asked_to() -> None:
    wanted = recipe.check(quick_training.CLASSIFICATION)
    drawn = data.draws(wanted, _places(10), 0)
    assert [len(batch) for batch in data.in_batches(drawn, 4, 0)] == [4, 4, 2]
    assert [len(batch) for batch in data.in_batches(drawn, 4, 1)] == [4, 2]


@pytest.mark.parametrize(
    ("cases", "size", "sizes"),
    [(9, 4, [4, 5]), (5, 4, [5]), (3, 2, [3]), (1, 4, [1]), (3, 1, [1, 1, 1]), (10, 4, [4, 4, 2])],
)
def test_a_single_case_that_is_left_over_joins_the_batch_before_it(
    cases: int, size: int, sizes: list[int]
) -> None:
    wanted = recipe.check(quick_training.CLASSIFICATION | {"batch": size})
    drawn = data.draws(wanted, _places(cases), 0)
    batches = list(data.in_batches(drawn, size, 0))
    assert [len(batch) for batch in batches] == sizes
    assert [one for batch in batches for one in batch] == list(drawn)
    assert [len(batch) for batch in data.in_batches(drawn, size, 1)] == sizes[1:]
    assert data.batch_count(wanted, _places(cases)) == len(sizes)


@given(
    extent=st.integers(1, 40), width=st.integers(1, 40), place=st.floats(0, 39), seed=st.integers(0)
)
def test_a_patch_lies_in_the_image_and_holds_its_centre(
    extent: int, width: int, place: float, seed: int
) -> None:
    centre = min(place, extent - 1)
    (start,) = data.patch_start((extent,), (width,), (centre,), np.random.default_rng(seed))
    assert 0 <= start <= max(extent - width, 0)
    if width >= 4:
        assert start <= centre + 0.5
        assert centre <= start + width


def test_beyond_the_image_a_patch_is_zero() -> None:
    patch = data.cut(np.ones((3, 3)), (1, 0), (4, 2))
    assert patch.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("orientation", [None, "RAS", "LPS"])
def test_a_mask_lies_on_the_networks_grid_where_its_image_does(orientation: str | None) -> None:
    """One lesion, so that its centre of mass does not hang on how often each one is sampled."""
    phantom = phantoms.chest(replace(CHEST, lesions=1, radius=(9.0, 12.0)))
    spec = InputSpec(
        modalities=("CT",), spatial_dims=3, orientation=orientation, spacing=(4.0, 4.0, 4.0)
    )
    grid = preprocess.prepare(phantom.volume, spec).grid
    mask = segmentation.mask_on(phantom.mask(Tissue.LESION).astype(np.uint8), grid)
    assert mask.shape == grid.shape
    found = np.argwhere(mask) + grid.start
    centre = np.zeros(3)
    for axis in range(3):
        centre[grid.axes[axis]] = grid.to_source(axis, found[:, axis].astype(float)).mean()
    truth = np.argwhere(phantom.mask(Tissue.LESION)).mean(axis=0)
    assert centre == pytest.approx(truth, abs=0.5)


@pytest.mark.parametrize("orientation", [None, "RAS", "LPS"])
def test_a_box_taken_to_the_networks_grid_comes_back_by_the_predictors_way(
    orientation: str | None,
) -> None:
    phantom = phantoms.chest(CHEST)
    spec = InputSpec(
        modalities=("CT",), spatial_dims=3, orientation=orientation, spacing=(3.0, 4.0, 2.5)
    )
    grid = preprocess.prepare(phantom.volume, spec).grid
    for lesion in phantom.lesions:
        box = Box(label="nodule", centre=lesion.centre, size=(2 * lesion.radius,) * 3)
        low, high = predicting.to_source(
            np.array(detection.box_on(box, phantom.volume, grid)), grid
        )
        centre = phantom.volume.to_patient((low + high) / 2 - 0.5)
        assert centre == pytest.approx(lesion.centre, abs=1e-6)
        assert (high - low) * phantom.volume.spacing == pytest.approx(box.size, abs=1e-6)


def test_boxes_move_with_their_patch_and_others_are_left_out() -> None:
    boxes = np.array([[2, 2, 2, 6, 6, 6], [9, 9, 9, 11, 11, 11], [20, 20, 20, 22, 22, 22]], float)
    inside, kept = detection.boxes_in((boxes - 1).astype(np.float32), (9, 9, 9))
    assert kept.tolist() == [True, False, False]  # of the second only an eighth is inside
    assert inside.tolist() == [[1, 1, 1, 5, 5, 5]]


@pytest.mark.parametrize("cases", [1, 7, 8])
@pytest.mark.parametrize("document", [quick_training.CLASSIFICATION, quick_training.SEGMENTATION])
def test_an_epoch_has_as_many_batches_as_are_counted(document: dict[str, Any], cases: int) -> None:
    wanted = recipe.check(document | {"batch": 3})
    places = _places(cases)
    drawn = data.draws(wanted, places, 0)
    assert len(list(data.in_batches(drawn, 3, 0))) == data.batch_count(wanted, places)


def test_a_case_of_many_voxels_gives_as_many_more_patches_where_that_is_asked(
    tmp_path: Path,
) -> None:
    for number, side in enumerate((4, 8, 8, 16)):
        (tmp_path / str(number)).mkdir()
        np.save(tmp_path / str(number) / "image.npy", np.zeros((3, 1, side, side), np.float32))
    places = sorted(tmp_path.iterdir())
    wanted = recipe.check(quick_training.SEGMENTATION | {"patches": 2, "patches_by": "size"})
    drawn = data.draws(wanted, places, 0)
    # the median is 64 voxels, whatever the channels; a quarter of it comes to half a patch
    assert np.bincount([draw.case for draw in drawn]).tolist() == [1, 2, 2, 8]
    assert data.batch_count(wanted, places) == 13 // wanted.batch  # one joins the last of them


def _places(count: int) -> list[Path]:
    """Return folders of cases, which need not be there to be drawn from case by case."""
    return [Path(str(number)) for number in range(count)]
