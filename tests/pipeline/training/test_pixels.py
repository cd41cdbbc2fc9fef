"""The same pixels are the same, whatever names, formats and axes they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import phantoms
from pipeline.phantoms import PhantomParameters
from pipeline.training import manifest, pixels, preparing, recipe, restoration
from pipeline.training.faults import ManifestInvalid
from pipeline.volume import Channels, Image, Volume
from tests import quick_training
from tests.quick_training import write_manifest

VALUES = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(np.int16)
VOLUME = Volume(stored=VALUES, affine=np.diag([3.0, 2.0, 1.0, 1.0])[[2, 1, 0, 3]])
RECIPE = recipe.check(quick_training.RESTORATION)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
def test_the_way_axes_are_stored_does_not_count(
    axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    affine = VOLUME.affine[:, [*axes, 3]].copy()
    stored = np.flip(VALUES.transpose(axes), flips)
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
        affine[:3, axis] *= -1.0
    assert pixels.digests(Volume(stored=stored, affine=affine)) == pixels.digests(VOLUME)


def test_one_other_value_or_another_rescale_counts() -> None:
    other = VALUES.copy()
    other[1, 2, 3] += 1
    changed = [replace(VOLUME, stored=other), replace(VOLUME, intercept=-1024.0)]
    found = {pixels.digests(one) for one in (VOLUME, *changed)}
    assert len(found) == 3


def test_grey_in_three_equal_colours_is_grey() -> None:
    grey = Image(pixels=VALUES.astype(np.float32))
    coloured = Image(pixels=np.repeat(VALUES[..., None], 3, axis=3).astype(np.uint8))
    assert pixels.digests(coloured) == pixels.digests(grey)


def test_every_series_has_a_digest() -> None:
    other = replace(VOLUME, stored=VALUES + 1)
    assert pixels.digests(Channels(volumes=(VOLUME, other))) == (
        *pixels.digests(VOLUME),
        *pixels.digests(other),
    )


def test_86_the_same_pixels_under_other_uids_are_refused(tmp_path: Path) -> None:
    """Two exports of one series: every UID and name differs, so every file does."""
    phantom = phantoms.chest(PhantomParameters(shape=(4, 24, 20), spacing=(6.0, 12.0, 12.0)))
    other = PhantomParameters(shape=(4, 24, 20), spacing=(6.0, 12.0, 12.0), seed=9)
    phantoms.write_series(phantom, tmp_path / "first")
    phantoms.write_series(phantom, tmp_path / "second", seed=1)
    phantoms.write_series(phantoms.chest(other), tmp_path / "another")
    assert manifest.file_digest(tmp_path / "first") != manifest.file_digest(tmp_path / "second")
    rows = [("first", "", "a", "train"), ("another", "", "b", "train"), ("second", "", "c", "test")]
    snapshot = manifest.freeze(write_manifest(tmp_path, rows), RECIPE)
    with pytest.raises(ManifestInvalid) as refused:
        preparing.prepare(
            snapshot,
            RECIPE,
            restoration.preparation(RECIPE),
            tmp_path / "kept",
            checkpoint=lambda: None,
        )
    assert [(one.row, one.sentence) for one in refused.value.faults] == [
        (3, "it shows the same pixels as row 1")
    ]
