"""Masks by rules against volumes known in closed form."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelMismatch
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.phantoms import PhantomParameters, Tissue, chest
from pipeline.results import Prediction, Segment
from pipeline.volume import Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

MODELS = Path(__file__).parents[3] / "models"


def run(name: str, volume: Volume) -> Prediction:
    return predictors.open(bundle.load(MODELS / name), device=Device()).predict(
        volume, checkpoint=go_on
    )


def phantom(**changes: Any) -> Any:
    stated: dict[str, Any] = {"shape": (48, 128, 128), "spacing": (2.5, 2.6, 2.4)}
    return chest(PhantomParameters(**{**stated, **changes}))


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (12.0, -9.0, 15.0)])
def test_the_lungs_have_their_analytic_volume(rotation: tuple[float, float, float]) -> None:
    made = phantom(rotation=rotation)
    (segment,) = run("threshold-lung", made.volume).findings
    assert isinstance(segment, Segment)
    # nodules surrounded by lung are filled in
    truth = made.analytic_ml[Tissue.LUNG] + made.analytic_ml[Tissue.LESION]
    assert segment.volume_ml == pytest.approx(truth, rel=0.03)


def test_the_lungs_are_where_the_truth_has_them() -> None:
    made = phantom(vessels=4)
    found = run("threshold-lung", made.volume).label_map
    assert found is not None
    truth = made.mask(Tissue.LUNG) | made.mask(Tissue.LESION)
    assert 2 * (truth & (found > 0)).sum() / (truth.sum() + found.sum()) > 0.97


def test_the_body_has_no_table_and_no_holes() -> None:
    made = phantom()
    found = run("threshold-body", made.volume).label_map
    assert found is not None
    truth = made.truth > 0
    assert 2 * (truth & (found > 0)).sum() / (truth.sum() + found.sum()) > 0.98


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turned_and_flipped_grid_changes_no_millilitre(axis: int) -> None:
    made = phantom()
    whole = run("threshold-lung", made.volume).findings[0]
    stored = np.flip(np.moveaxis(made.volume.stored, 0, axis), axis)
    order = [1, 2]
    order.insert(axis, 0)
    affine = made.volume.affine[:, [*order, 3]].copy()
    affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
    affine[:3, axis] *= -1
    turned = dataclasses.replace(made.volume, stored=np.ascontiguousarray(stored), affine=affine)
    found = run("threshold-lung", turned).findings[0]
    assert isinstance(found, Segment)
    assert isinstance(whole, Segment)
    assert found.voxels == whole.voxels
    assert found.centroid == pytest.approx(whole.centroid)


def test_stored_numbers_of_any_slope_mean_the_same() -> None:
    made = phantom()
    hounsfield = made.volume.values().round()
    other = dataclasses.replace(
        made.volume, stored=(-2 * hounsfield).astype(np.int16), slope=-0.5, intercept=0.0
    )
    np.testing.assert_array_equal(
        run("threshold-lung", other).label_map, run("threshold-lung", made.volume).label_map
    )


def test_a_volume_of_air_has_an_empty_lung_and_says_so() -> None:
    air = tiny.volume(stored=np.full((9, 20, 20), -1000, np.int16))
    found = run("threshold-lung", air)
    assert found.warnings == ("no lung was found",)
    (segment,) = found.findings
    assert isinstance(segment, Segment)
    assert (segment.voxels, segment.centroid) == (0, None)


def test_values_that_are_not_hounsfield_units_are_refused() -> None:
    with pytest.raises(ModelMismatch, match="in HU"):
        run("threshold-lung", tiny.volume(unit=""))


def test_closing_fills_gaps_narrower_than_twice_its_radius() -> None:
    stored = np.full((20, 60, 60), -1000, np.int16)
    stored[:, 5:55, 5:55] = 40
    stored[4:16, 15:45, 15:45] = -850
    stored[4:16, 15:20, 30:31] = 40
    image = tiny.volume(stored=stored, affine=np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
    shipped = bundle.load(MODELS / "threshold-lung").spec
    results = []
    for radius in (0.0, 2.0):
        spec = dataclasses.replace(shipped, options={**shipped.options, "closing_mm": radius})
        closed = predictors.open(bundle.Bundle(spec=spec, folder=MODELS), device=Device())
        results.append(closed.predict(image, checkpoint=go_on).label_map)
    assert results[0] is not None
    assert results[1] is not None
    assert not results[0][10, 18, 30]
    assert results[1][10, 18, 30]
