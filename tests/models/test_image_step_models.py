"""The shipped models of image steps against what phantoms state in formulas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import models
from pipeline import phantoms
from pipeline.errors import ModelMismatch
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.phantoms import BreastParameters, SlideParameters, Tissue
from pipeline.phantoms.pet import DEFAULT as TORSO
from pipeline.results import Prediction, Segment
from pipeline.volume import Input

FOLDER = Path(models.__path__[0])
SEEDS = pytest.mark.parametrize("seed", range(41, 44))


def answer(name: str, image: Input) -> tuple[NDArray[np.uint8], Segment]:
    predictor = predictors.open(bundle.load(FOLDER / name), device=Device("cpu"))
    found: Prediction = predictor.predict(image, checkpoint=lambda: None)
    (segment,) = found.findings
    assert isinstance(segment, Segment)
    assert found.label_map is not None
    return found.label_map, segment


def dice(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    return float(2 * (truth & mask).sum() / (truth.sum() + mask.sum()))


@SEEDS
def test_high_uptake_is_as_large_as_the_lesions(seed: int) -> None:
    phantom = phantoms.torso(replace(TORSO, seed=seed))
    mask, segment = answer("classical-pt-uptake", phantom.volume)
    # the threshold lies a little below the middle between body and lesion
    assert segment.volume_ml == pytest.approx(phantom.analytic_ml[Tissue.LESION], rel=0.15)
    assert dice(phantom.mask(Tissue.LESION), mask == 1) > 0.85


def test_a_body_without_lesions_has_no_high_uptake() -> None:
    mask, segment = answer("classical-pt-uptake", phantoms.torso(replace(TORSO, lesions=0)).volume)
    assert segment.voxels == 0
    assert not mask.any()


def test_a_pet_that_is_not_in_suv_is_refused() -> None:
    volume = replace(phantoms.torso().volume, unit="Bq/mL")
    with pytest.raises(ModelMismatch, match="needs values in g/mL, not Bq/mL"):
        answer("classical-pt-uptake", volume)


@SEEDS
def test_the_breast_is_the_half_ellipse(seed: int) -> None:
    phantom = phantoms.breast(BreastParameters(seed=seed))
    mask, segment = answer("classical-mg-breast", phantom.image)
    assert segment.voxels == pytest.approx(phantom.analytic_pixels, rel=0.02)
    assert dice(phantom.truth, mask == 1) > 0.98


@SEEDS
def test_tissue_is_told_from_glass_in_every_tile(seed: int) -> None:
    phantom = phantoms.slide(SlideParameters(seed=seed))
    mask, _ = answer("classical-sm-tissue", phantom.image)
    assert dice(phantom.truth, mask == 1) > 0.98
    empty = ~phantom.truth.any(axis=(1, 2))
    full = phantom.truth.all(axis=(1, 2))
    assert empty.any()
    assert full.any()
    assert not mask[empty].any()
    assert mask[full].mean() > 0.99
