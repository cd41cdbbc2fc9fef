"""Private attributes that are safe to keep (PS3.15 table E.3.10-1): physics, no identity.

Only those whose values are numbers or code strings are listed here, by creator, group and the
low byte of the element.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydicom.tag import BaseTag

_SAFE: Final[Mapping[tuple[str, int, int], str]] = {
    ("Philips PET Private Group", 0x7053, 0x00): "DS",  # SUV factor
    ("Philips PET Private Group", 0x7053, 0x09): "DS",  # activity concentration factor
    ("ELSCINT1", 0x00E1, 0x21): "DS",  # dose length product
    ("ELSCINT1", 0x01E1, 0x50): "DS",  # acquisition duration
    ("ELSCINT1", 0x01F1, 0x07): "DS",  # table velocity
    ("ELSCINT1", 0x01F1, 0x26): "DS",  # pitch
    ("ELSCINT1", 0x01F1, 0x27): "DS",  # rotation time
    ("GEMS_ACQU_01", 0x0019, 0x23): "DS",  # table speed
    ("GEMS_ACQU_01", 0x0019, 0x24): "DS",  # mid scan time
    ("GEMS_ACQU_01", 0x0019, 0x27): "DS",  # rotation speed
    ("GEMS_PARM_01", 0x0043, 0x27): "SH",  # scan pitch ratio
    ("GEMS_PARM_01", 0x0043, 0x39): "IS",  # diffusion b-value and what belongs to it
    ("GEMS_HELIOS_01", 0x0045, 0x01): "SS",  # number of macro rows in the detector
    ("GEMS_HELIOS_01", 0x0045, 0x02): "FL",  # macro width
    ("Philips Imaging DD 001", 0x2001, 0x03): "FL",  # diffusion b-factor
    ("Philips Imaging DD 001", 0x2001, 0x04): "CS",  # diffusion direction
    ("Philips MR Imaging DD 001", 0x2005, 0x0D): "FL",  # scale intercept
    ("Philips MR Imaging DD 001", 0x2005, 0x0E): "FL",  # scale slope
    ("SIEMENS MR HEADER", 0x0019, 0x0C): "IS",  # b-value
    ("SIEMENS MR HEADER", 0x0019, 0x0D): "CS",  # diffusion directionality
    ("SIEMENS MR HEADER", 0x0019, 0x0E): "FD",  # diffusion gradient direction
    ("SIEMENS MR HEADER", 0x0019, 0x27): "FD",  # b-matrix
}
_CREATORS: Final = frozenset(creator for creator, _, _ in _SAFE)


def is_creator(creator: str) -> bool:
    """Say whether a private creator has elements that may stay."""
    return creator in _CREATORS


def vr_of(creator: str, tag: BaseTag) -> str | None:
    """Return the VR that a private element must have to stay; None where it may not."""
    return _SAFE.get((creator, tag.group, tag.element & 0xFF))
