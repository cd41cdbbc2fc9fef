"""Which folders of the server, and which buckets, a request may name."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from api import addresses
from api.http.problems import Kind, Problem

_PASS: Final = os.O_PATH if hasattr(os, "O_PATH") else os.O_RDONLY


def admit_source(given: str, roots: Sequence[Path], buckets: Sequence[str]) -> str:
    """Return the source that ``given`` names: a path as ``admit`` says, or a place in a bucket.

    Raises:
        Problem: outside of what the settings admit (403), or nothing there (422).

    """
    if not addresses.is_address(given):
        return str(admit(given, roots))
    if fault := addresses.fault_of(given):
        raise Problem(Kind.SOURCE_REFUSED, fault)
    if not addresses.is_below(given, buckets):
        raise Problem(
            Kind.SOURCE_REFUSED,
            "A source in a bucket lies below one of the places of the setting source_buckets."
            if buckets
            else "The setting source_buckets is empty: no bucket can be named over HTTP.",
        )
    return given


def admit(given: str, roots: Sequence[Path]) -> Path:
    """Return the path that ``given`` names, below one of ``roots``.

    ``given`` is absolute and plain: no ``..``, and no symbolic link below the root, not even one
    that stays inside, since what it points at can be changed later. Whether something exists is
    only told of places below a root.

    Raises:
        Problem: outside the roots or through a link (403), or nothing there (422).

    """
    path = Path(given)
    if not path.is_absolute() or ".." in path.parts:
        raise Problem(Kind.SOURCE_REFUSED, "A source is an absolute path without `..`.")
    for root in roots:
        if path.is_relative_to(root):
            return _walk(root.resolve(), path.relative_to(root).parts)
    raise Problem(
        Kind.SOURCE_REFUSED,
        "A source lies below one of the folders of the setting source_roots."
        if roots
        else "The setting source_roots is empty: no folder can be named over HTTP.",
    )


def _walk(root: Path, parts: Sequence[str]) -> Path:
    """Open part after part, following nothing, and return the path that was opened."""
    missing = Problem(Kind.SOURCE_MISSING)
    try:
        here = os.open(root, _PASS)
    except OSError as error:
        raise missing from error
    try:
        for part in parts:
            try:
                below = os.open(part, _PASS | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
            except (OSError, ValueError) as error:  # ValueError: not encodable as a file name
                raise missing from error
            os.close(here)
            here = below
            _require_plain(here)
    finally:
        os.close(here)
    return root.joinpath(*parts)


def _require_plain(descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    # With O_PATH a link itself is opened; without it O_NOFOLLOW has refused it before.
    if stat.S_ISLNK(mode):
        raise Problem(Kind.SOURCE_REFUSED, "A source is not named through a symbolic link.")
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise Problem(Kind.SOURCE_REFUSED, "A source is a folder or a file.")
