"""Addresses of sources that are no paths: ``s3://bucket/prefix``, and no other kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

BUCKETS: Final = "s3://"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0]*)?")


def is_address(given: str) -> bool:
    """Say whether a source is given as an address rather than as a path."""
    return _SCHEME.match(given) is not None


def fault_of(address: str) -> str | None:
    """Say what is wrong with an address, None where it names a place in a bucket."""
    if not address.startswith(BUCKETS):
        return "A source is a folder, an archive, a DICOMDIR or s3://bucket/prefix."
    if not _BUCKET.fullmatch(address):
        return "An address in a bucket has the form s3://bucket/prefix, without keys or options."
    if {".", ".."} & set(address.split("/")):
        return "An address in a bucket has no part `.` or `..`."
    return None


def is_below(address: str, prefixes: Sequence[str]) -> bool:
    """Say whether an address is one of these or lies below one, whole names compared."""
    place = f"{address.rstrip('/')}/"
    return any(place.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)
