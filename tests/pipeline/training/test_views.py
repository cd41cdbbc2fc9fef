"""Views: images without labels, drawn the same way however often they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.training import data
from tests import quick_variants as quick

MOVING = {"flip": 0.5, "rotate": 20, "noise": 0.02}


def test_every_image_comes_once_an_epoch_in_batches_of_at_least_that_size(tmp_path: Path) -> None:
    seen = quick.views(quick.check(quick.PLAIN), quick.images(tmp_path, 11))
    batches = seen.in_batches(3, 4)
    assert sorted(np.concatenate(batches)) == [*range(11)]
    assert [len(batch) for batch in batches] == [6, 5]
    assert [len(batch) for batch in seen.in_batches(0, 99)] == [11]
    assert not np.array_equal(batches[0], seen.in_batches(4, 4)[0])


@pytest.mark.parametrize("document", [quick.PLAIN, quick.FLAT], ids=lambda one: one["kind"])
def test_what_is_drawn_depends_on_the_place_alone(tmp_path: Path, document: dict) -> None:
    wanted = quick.check(document, augmentation=MOVING)
    make = quick.images if wanted.kind == "classification" else quick.squares
    seen = quick.views(wanted, make(tmp_path))
    chosen = seen.in_batches(2, 3)[1]
    one, again = (seen.single(chosen, seen.random(2, 1)) for _ in range(2))
    assert one.shape == (len(chosen), 1, *wanted.input.size)
    assert torch.equal(one, again)
    assert not torch.equal(one, seen.single(chosen, seen.random(2, 2)))


def test_an_image_that_nothing_changes_is_seen_as_it_is_kept(tmp_path: Path) -> None:
    seen = quick.views(quick.check(quick.PLAIN), quick.images(tmp_path))
    for view in seen.pairs(np.array([5]), seen.random(0, 0), is_aligned=False):
        assert np.array_equal(view[0], data.load(seen.places[5])["image"])


def test_aligned_views_show_the_same_place_with_other_values(tmp_path: Path) -> None:
    wanted = quick.check(quick.FLAT, augmentation={"flip": 0.5, "rotate": 30})
    seen = quick.views(wanted, quick.squares(tmp_path))
    chosen = np.arange(6)
    first, second = seen.pairs(chosen, seen.random(0, 0), is_aligned=True)
    assert torch.equal(first, second)
    other, another = seen.pairs(chosen, seen.random(0, 0), is_aligned=False)
    assert not torch.equal(other, another)
    noisy = replace(seen, recipe=quick.check(quick.FLAT, augmentation={"noise": 0.05}))
    first, second = noisy.pairs(chosen, noisy.random(0, 0), is_aligned=True)
    difference = (first - second).abs()
    assert 0 < float(difference.max()) < 0.5
