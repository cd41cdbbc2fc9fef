from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.phantoms import PhotoKind, PhotoParameters, PhotoPhantom, photo

KINDS = pytest.mark.parametrize("kind", PhotoKind)


def difference(one: PhotoPhantom, other: PhotoPhantom) -> np.ndarray:
    """Return how far the colours of each pixel lie apart, (rows, columns)."""
    pixels = [phantom.image.pixels[0].astype(int) for phantom in (one, other)]
    return np.asarray(np.abs(pixels[0] - pixels[1]).max(axis=2))


@KINDS
def test_the_same_parameters_give_the_same_pixels_and_another_seed_others(kind: PhotoKind) -> None:
    wanted = PhotoParameters(kind=kind, seed=4)
    assert photo(wanted).image.pixels.tobytes() == photo(wanted).image.pixels.tobytes()
    assert difference(photo(wanted), photo(replace(wanted, seed=5))).any()


@KINDS
@pytest.mark.parametrize("seed", range(4))
def test_a_lesion_changes_the_picture_where_the_truth_says(kind: PhotoKind, seed: int) -> None:
    lesion = photo(PhotoParameters(kind=kind, seed=seed))
    none = photo(PhotoParameters(kind=kind, seed=seed, has_lesion=False))
    assert not none.truth.any()
    changed = difference(lesion, none) > 30
    assert 0.005 < lesion.truth.mean() < 0.15
    assert changed[lesion.truth[0]].mean() > 0.7


@KINDS
def test_pictures_are_in_colour_with_a_lesion_and_without(kind: PhotoKind) -> None:
    for has_lesion in (False, True):
        pixels = photo(PhotoParameters(kind=kind, has_lesion=has_lesion)).image.pixels
        assert pixels.shape == (1, 128, 128, 3)
        assert pixels.dtype == np.uint8
        assert np.ptp(pixels.astype(int), axis=3).max() > 40


@pytest.mark.parametrize("kind", [PhotoKind.SKIN, PhotoKind.RETINA, PhotoKind.BOWEL])
def test_beyond_the_edge_of_a_lesion_nothing_changes(kind: PhotoKind) -> None:
    lesion = photo(PhotoParameters(kind=kind, seed=2))
    changed = difference(lesion, photo(PhotoParameters(kind=kind, seed=2, has_lesion=False))) > 0
    assert changed.sum() < 1.4 * lesion.truth.sum()
