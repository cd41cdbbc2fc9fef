"""Loading what stays for good."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from worker.queue.loading import loading


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_the_collector_looks_at_nothing_that_a_start_loads_and_works_again_afterwards() -> None:
    gc.unfreeze()
    with loading():
        assert not gc.isenabled()
        loaded = ["stays for good"]
        assert gc.get_freeze_count() == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(each is loaded for each in gc.get_objects())


def test_the_collector_works_again_after_a_start_that_is_refused() -> None:
    with pytest.raises(KeyError), loading():
        raise KeyError
    assert gc.isenabled()
