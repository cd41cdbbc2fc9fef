"""The versions that a run report names."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

#: what can change a result
PACKAGES: Final = ("torch", "monai", "numpy", "pydicom", "highdicom")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


NIGHTSHIFT: Final = _installed("nightshift")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python, Nightshift and the libraries that can change a result."""
    found = {"python": platform.python_version(), "nightshift": NIGHTSHIFT}
    return found | {name: _installed(name) for name in PACKAGES}
