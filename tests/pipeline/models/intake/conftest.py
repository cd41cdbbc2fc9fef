"""Fixtures of the intake tests: take a bundle in, reading its weights in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.models.bundle import BundleRefused
from pipeline.models.intake import weights
from pipeline.models.intake.brought import IntakeLimits
from pipeline.models.intake.taking import Taken, take_in
from pipeline.models.intake.weights import Errand
from pipeline.reasons import Reason
from tests.pipeline.models.intake import made


def convert(errand: Errand, limits: IntakeLimits) -> dict[str, list[int]]:
    """Read weights as the confined process does, without waiting for one."""
    return weights.convert(errand)


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """A sound bundle as it is brought."""
    return made.write(tmp_path / "brought")


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Taken]:
    """Return a function that takes a bundle in; each time into a folder of its own."""
    count = 0

    def taken(path: Path, **options: Any) -> Taken:
        nonlocal count
        count += 1
        scratch = tmp_path / f"scratch-{count}"
        scratch.mkdir()
        return take_in(path, scratch, convert=convert, **options)

    return taken


@pytest.fixture
def faults(take: Callable[..., Taken]) -> Callable[..., str]:
    """Return a function that takes a bundle in that must be refused, and returns its faults."""

    def refused(path: Path, **options: Any) -> str:
        with pytest.raises(BundleRefused) as error:
            take(path, **options)
        assert error.value.reason is Reason.MODEL_BUNDLE_REFUSED
        return "\n".join(error.value.faults)

    return refused
