"""The shipped demonstrations do on phantoms what their cards say, on seeds they never saw."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import models
from models.make import DEMONSTRATIONS
from pipeline import phantoms
from pipeline.evaluation import fidelity
from pipeline.evaluation.overlap import dice
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
from pipeline.phantoms import ImageKind, ImageParameters, PhotoKind, PhotoParameters
from pipeline.phantoms.chest import DEFAULT as CHEST
from pipeline.results import Classification
from pipeline.training import degradation, phantom_manifest, recipe

FOLDER = Path(models.__path__[0])
SEED = 31


@cache
def shipped(name: str) -> Predictor:
    return predictors.open(bundle.load(FOLDER / name), device=Device("cpu"))


def test_every_demonstration_is_made_by_one_command() -> None:
    assert set(DEMONSTRATIONS) == {path.name for path in FOLDER.glob("demo-*")}
    assert {kind for kind, _, _ in DEMONSTRATIONS.values()} <= set(phantom_manifest.SETS)


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_a_demonstration_is_small_says_what_it_is_and_has_a_licence(name: str) -> None:
    assert sum(path.stat().st_size for path in (FOLDER / name).rglob("*")) < 1_000_000
    assert "Not for clinical use" in (FOLDER / name / bundle.CARD).read_text()
    assert "Apache" in (FOLDER / name / "LICENSE").read_text()


@pytest.mark.parametrize("has_lesion", [True, False], ids=["lesion", "no lesion"])
@pytest.mark.parametrize("kind", PhotoKind)
def test_lesions_are_told_apart_in_every_kind_of_photograph(
    kind: PhotoKind, *, has_lesion: bool
) -> None:
    phantom = phantoms.photo(PhotoParameters(kind=kind, seed=SEED, has_lesion=has_lesion))
    answer = shipped("demo-photo-lesion-classification").predict(
        phantom.image, checkpoint=lambda: None
    )
    (top,) = (one for one in answer.findings if isinstance(one, Classification) and one.is_top)
    assert top.label == ("lesion" if has_lesion else "no lesion")


@pytest.mark.parametrize("kind", ImageKind)
def test_lesions_are_outlined_in_every_kind_of_image(kind: ImageKind) -> None:
    outlines = shipped("demo-image-lesion-segmentation")
    lesion = phantoms.image(ImageParameters(kind=kind, seed=SEED))
    found = outlines.predict(lesion.image, checkpoint=lambda: None).label_map
    assert found is not None
    assert dice(lesion.truth, found == 1) > 0.8
    none = phantoms.image(ImageParameters(kind=kind, seed=SEED, has_lesion=False))
    found = outlines.predict(none.image, checkpoint=lambda: None).label_map
    assert found is not None
    assert np.count_nonzero(found) < 20


def test_a_chest_comes_out_with_less_noise_than_it_went_in() -> None:
    still = phantoms.chest(
        phantoms.PhantomParameters(
            shape=(3, *CHEST.shape[1:]), spacing=CHEST.spacing, seed=SEED, lesions=0, noise=0.0
        )
    )
    wanted = recipe.parse((FOLDER / "demo-ct-denoising" / "recipe.yaml").read_text())
    held = degradation.trial(still.volume, wanted, np.random.default_rng(SEED))
    (answer,) = shipped("demo-ct-denoising").predict(held.shown, checkpoint=lambda: None).derived
    assert answer.values.shape == still.volume.stored.shape
    better = fidelity.psnr(held.scaled(answer.values), held.reference)
    assert better > fidelity.psnr(held.baseline, held.reference) + 2.0
