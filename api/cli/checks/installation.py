"""What is installed, and which settings are in force."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from api.cli.checks.finding import Finding

if TYPE_CHECKING:
    from worker.queue.settings import Settings

NEEDED = ("sqlalchemy", "alembic", "celery", "redis", "fastapi", "flower")
FOR_WORKERS = ("torch", "monai", "numpy", "pydicom", "highdicom")


def versions() -> Iterator[Finding]:
    """Say which versions are installed, without importing them."""
    area = "Versions"
    yield Finding(area, "python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield Finding(area, "nightshift", "ok", _version_of("nightshift") or "not installed")
    for name in NEEDED:
        found = _version_of(name)
        mend = "" if found else "Install nightshift again; this package is required."
        yield Finding(area, name, "ok" if found else "problem", found or "missing", mend)
    for name in FOR_WORKERS:
        found = _version_of(name)
        mend = "" if found else "pip install 'nightshift[worker]'; without it no study is analysed."
        yield Finding(area, name, "ok" if found else "warning", found or "missing", mend)
    found = _version_of("s3fs")
    said = found or "not installed; s3:// sources need it: pip install 'nightshift[s3]'"
    yield Finding(area, "s3fs", "ok", said)


def in_force(settings: Settings) -> Iterator[Finding]:
    """Show every setting with its value, secrets masked, and name variables nobody reads."""
    area = "Settings"
    for name in type(settings).model_fields:
        given = "" if name in settings.model_fields_set else "  (default)"
        yield Finding(area, name, "ok", f"{masked(name, settings)}{given}")
    known = {f"NIGHTSHIFT_{name.upper()}" for name in type(settings).model_fields}
    for name in sorted(os.environ):
        if name.startswith("NIGHTSHIFT_") and name not in known:
            yield Finding(area, name, "warning", "no such setting", "Is it misspelt?")


def masked(name: str, settings: Settings) -> str:
    """Return the value of one setting for reading aloud: a URL keeps its host, not its password."""
    value: Any = getattr(settings, name)
    if value is None:
        return "not set"
    secret = getattr(value, "get_secret_value", None)
    if secret is None:
        return str(value)
    if not name.endswith("_url"):
        return "set, not shown"
    from urllib.parse import urlsplit

    parts = urlsplit(secret())
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{'***@' if '@' in parts.netloc else ''}{host}{parts.path}"


def _version_of(package: str) -> str:
    """Return the installed version; empty when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
