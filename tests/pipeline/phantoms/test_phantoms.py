from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.phantoms import (
    ImageKind,
    ImageParameters,
    Phantom,
    PhantomParameters,
    Tissue,
    Weighting,
    chest,
    head,
    image,
)
from pipeline.phantoms.chest import DEFAULT as CHEST
from pipeline.phantoms.head import DEFAULT as HEAD

Build = Callable[[PhantomParameters], Phantom]
BOTH = pytest.mark.parametrize(("build", "default"), [(chest, CHEST), (head, HEAD)])


@BOTH
def test_the_same_parameters_give_the_same_bytes(build: Build, default: PhantomParameters) -> None:
    one, other = build(replace(default, seed=5)), build(replace(default, seed=5))
    assert one.volume.stored.tobytes() == other.volume.stored.tobytes()
    assert one.truth.tobytes() == other.truth.tobytes()
    assert one.lesions == other.lesions


@BOTH
def test_another_seed_gives_another_phantom(build: Build, default: PhantomParameters) -> None:
    assert build(replace(default, seed=1)).lesions != build(replace(default, seed=2)).lesions


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_counted_volumes_meet_the_formulas(
    build: Build, default: PhantomParameters, seed: int
) -> None:
    phantom = build(replace(default, seed=seed, lesions=3, radius=(9.0, 11.0)))
    for tissue, expected in phantom.analytic_ml.items():
        counted = phantom.mask(tissue).sum() * phantom.volume.voxel_volume_ml
        tolerance = 0.12 if tissue in {Tissue.LESION, Tissue.VENTRICLE} else 0.01
        assert counted == pytest.approx(expected, rel=tolerance)


@BOTH
def test_a_lesion_lies_where_it_is_stated_also_when_turned(
    build: Build, default: PhantomParameters
) -> None:
    phantom = build(replace(default, lesions=1, radius=(10.0, 10.0), rotation=(20.0, -15.0, 35.0)))
    index = np.argwhere(phantom.mask(Tissue.LESION)).astype(float)
    found = phantom.volume.to_patient(index).mean(axis=0)
    assert math.dist(found, phantom.lesions[0].centre) < min(default.spacing) / 2


def test_lungs_are_air_and_nodules_are_soft_tissue() -> None:
    phantom = chest(replace(CHEST, radius=(9.0, 10.0), noise=0.0))
    values = phantom.volume.values()
    assert values[phantom.mask(Tissue.LUNG)].mean() < -800
    centre = np.linalg.inv(phantom.volume.affine) @ (*phantom.lesions[0].centre, 1.0)
    s, r, c = np.rint(centre[:3]).astype(int)
    assert values[s, r, c] == 45


def test_vessels_are_bright_but_not_lesions() -> None:
    plain, with_vessels = chest(CHEST), chest(replace(CHEST, vessels=12))
    assert np.array_equal(plain.truth, with_vessels.truth)
    lung = plain.mask(Tissue.LUNG)
    assert (with_vessels.volume.values()[lung] > -400).sum() > 100 + (
        plain.volume.values()[lung] > -400
    ).sum()


@BOTH
def test_without_lesions_the_truth_holds_none(build: Build, default: PhantomParameters) -> None:
    phantom = build(replace(default, lesions=0))
    assert phantom.lesions == ()
    assert not phantom.mask(Tissue.LESION).any()


def test_lesions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        chest(replace(CHEST, radius=(90.0, 95.0)))


@pytest.mark.parametrize("kind", ImageKind)
def test_image_phantoms_show_their_lesion_and_only_then(kind: ImageKind) -> None:
    with_lesion = image(ImageParameters(kind=kind, seed=3))
    without = image(ImageParameters(kind=kind, seed=3, has_lesion=False))
    assert with_lesion.truth.any()
    assert not without.truth.any()
    again = image(ImageParameters(kind=kind, seed=3))
    assert with_lesion.image.pixels.tobytes() == again.image.pixels.tobytes()
    inside = with_lesion.truth
    difference = abs(
        float(with_lesion.image.pixels[inside].mean() - without.image.pixels[inside].mean())
    )
    assert difference > 0.03 * float(np.ptp(with_lesion.image.pixels))


def test_an_ultrasound_loop_has_frames() -> None:
    loop = image(ImageParameters(kind=ImageKind.US, frames=4))
    assert loop.image.pixels.shape == (4, 128, 128)
    assert loop.truth.shape == (4, 128, 128)


def test_weightings_show_the_same_head_with_other_contrasts() -> None:
    flair, *others = (head(replace(HEAD, noise=0.0), weighting=one) for one in Weighting)
    for other in others:
        assert np.array_equal(other.truth, flair.truth)
        assert np.array_equal(other.volume.affine, flair.volume.affine)

    def mean(phantom: Phantom, tissue: Tissue) -> float:
        return float(phantom.volume.stored[phantom.mask(tissue)].mean())

    t1, t1c, t2 = others
    assert mean(flair, Tissue.VENTRICLE) < mean(flair, Tissue.BRAIN) < mean(flair, Tissue.LESION)
    assert mean(t1, Tissue.LESION) < mean(t1, Tissue.BRAIN) < mean(t1c, Tissue.LESION)
    assert mean(t2, Tissue.BRAIN) < mean(t2, Tissue.LESION) < mean(t2, Tissue.VENTRICLE)
