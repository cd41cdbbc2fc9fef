"""Public images that some tests meet: real scanners, real codecs, real faults. Never required."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def beside(*parts: str) -> Path:
    """Return a path of the shared test data, whether it is there or not.

    They are looked for in the folder that ``NIGHTSHIFT_TEST_DATA`` names, else in
    ``shared/data`` beside the checkout.
    """
    root = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("NIGHTSHIFT_TEST_DATA", root)).joinpath(*parts)


def shared(*parts: str) -> Path:
    """Return a path of the shared test data, or skip the test where they are absent."""
    path = beside(*parts)
    if not path.exists():
        pytest.skip(f"no test data {'/'.join(parts)}: set NIGHTSHIFT_TEST_DATA to their folder")
    return path
