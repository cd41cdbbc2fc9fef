"""How much one file may ask for, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HeaderLimits:
    """Bounds on what a header may state or cost to read."""

    #: rows x columns x frames x samples of one instance
    pixels: int = 2**31
    #: bytes a deflated data set may inflate to
    inflated_bytes: int = 2**29
    #: sequences within each other, and elements and items in all of them: an enhanced object of
    #: ten thousand frames has fewer, and a parser takes seconds for as many
    nesting: int = 32
    elements: int = 2**20
    items: int = 2**17
    #: bytes of memory beyond its own that a header reader may use
    memory_bytes: int = 2**31
    #: seconds for one header
    seconds: float = 30.0


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """Bounds on one read: what the decoding process may take."""

    #: voxels of one volume or image
    pixels: int = 2**31
    #: address space of the decoding process beyond what it starts with
    memory_bytes: int = 8 * 2**30
    seconds: float = 120.0
    #: that decode compressed frames at once, within the memory above; None = one per core
    processes: int | None = None
