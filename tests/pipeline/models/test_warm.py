"""Models kept loaded: each loaded once, none let go that a job holds, the budget kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from pipeline.errors import OutOfMemory
from pipeline.models import bundle as bundles
from pipeline.models import predictors
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
from pipeline.models.warm import Warm

Write = Callable[..., Bundle]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of what is loaded, one for each load."""
    found: list[str] = []
    really_open = predictors.open

    def counted(bundle: Bundle, *, device: Device) -> Predictor:
        found.append(bundle.digest)
        return really_open(bundle, device=device)

    monkeypatch.setattr(predictors, "open", counted)
    return found


def used(warm: Warm, bundle: Bundle) -> Predictor:
    with warm.use(bundle) as lent:
        return lent.predictor


def weight(bundle: Bundle) -> int:
    return (bundle.folder / bundles.WEIGHTS).stat().st_size


def test_eight_jobs_that_ask_at_once_cause_one_load(write_unet: Write, loads: list[str]) -> None:
    bundle, gate = write_unet(), threading.Barrier(8)
    warm = Warm(Device())
    found: list[Any] = []

    def ask() -> None:
        gate.wait(30)
        with warm.use(bundle) as lent:
            found.append(lent)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(loads) == 1
    assert len({id(lent.predictor) for lent in found}) == 1
    assert sorted(lent.load_seconds is None for lent in found) == [False, *[True] * 7]


def test_three_models_that_fit_are_loaded_once_over_twenty_jobs(
    write_unet: Write, loads: list[str]
) -> None:
    three = [write_unet(seed) for seed in range(3)]
    warm = Warm(Device(), budget=3 * weight(three[0]))
    for _ in range(20):
        for bundle in three:
            used(warm, bundle)
    assert sorted(loads) == sorted(bundle.digest for bundle in three)
    assert warm.size == 3 * weight(three[0])


def test_the_model_not_used_for_longest_goes_first(write_unet: Write) -> None:
    first, second, third = (write_unet(seed) for seed in range(3))
    gone: list[str] = []
    warm = Warm(Device(), budget=2 * weight(first), on_evict=gone.append)
    kept = used(warm, first)
    used(warm, second)
    assert used(warm, first) is kept
    used(warm, third)
    assert gone == [second.digest]
    assert warm.digests() == (first.digest, third.digest)


def test_a_model_in_use_stays_whatever_the_budget(write_unet: Write, loads: list[str]) -> None:
    three = [write_unet(seed) for seed in range(3)]
    warm = Warm(Device(), budget=weight(three[0]))
    with ExitStack() as held:
        for bundle in three:
            held.enter_context(warm.use(bundle))
        assert len(warm.digests()) == 3
        used(warm, three[0])
    assert len(loads) == 3
    assert len(warm.digests()) == 1


def test_a_model_larger_than_the_budget_is_kept_while_nobody_asks_for_another(
    write_unet: Write, loads: list[str]
) -> None:
    one, other = write_unet(0), write_unet(1)
    warm = Warm(Device(), budget=1)
    for _ in range(3):
        used(warm, one)
    assert loads == [one.digest]
    used(warm, other)
    assert warm.digests() == (other.digest,)


def test_a_load_that_failed_is_tried_again(write_unet: Write) -> None:
    bundle = write_unet()
    path = bundle.folder / bundles.WEIGHTS
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    warm = Warm(Device())
    with pytest.raises(BundleRefused):
        used(warm, bundle)
    assert warm.digests() == ()
    path.write_bytes(content)
    assert used(warm, bundle).spec == bundle.spec


def test_where_a_load_runs_out_of_memory_others_go_and_it_is_tried_again(
    write_unet: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = write_unet(0), write_unet(1)
    warm = Warm(Device())
    used(warm, one)
    really_open = predictors.open

    def full(bundle: Bundle, *, device: Device) -> Predictor:
        if len(warm.digests()) > 1:
            raise MemoryError
        return really_open(bundle, device=device)

    monkeypatch.setattr(predictors, "open", full)
    assert used(warm, other).spec == other.spec
    assert warm.digests() == (other.digest,)
    with warm.use(other), pytest.raises(OutOfMemory, match="tiny-unet"):
        used(warm, one)
