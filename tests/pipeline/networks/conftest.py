"""Fixtures of the tests of networks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.models.devices import one_thread


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Compute in one thread: the networks are too small for cores to share."""
    with one_thread():
        yield
