"""Which SOP classes are source images, and which are not, by name (PS3.4 annex B.5)."""

from __future__ import annotations

from typing import Final

from pydicom.uid import UID

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1"

MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"

#: Objects that are no source images, though some of them carry pixels. A trailing dot makes a
#: prefix of a whole family.
_NOT_IMAGES: Final = (
    f"{_STORAGE}.4.2",  # MR spectroscopy
    f"{_STORAGE}.9.",  # waveforms
    f"{_STORAGE}.11.",  # presentation states
    f"{_STORAGE}.30",  # parametric map
    f"{_STORAGE}.66",  # raw data
    f"{_STORAGE}.66.",  # registrations, fiducials, segmentations
    f"{_STORAGE}.67",  # real-world value mapping
    f"{_STORAGE}.68.",  # surface scans
    f"{_STORAGE}.78.",  # ophthalmic measurements
    f"{_STORAGE}.79.",
    f"{_STORAGE}.80.",
    f"{_STORAGE}.88.",  # structured reports, key objects
    f"{_STORAGE}.90.",  # content assessment
    f"{_STORAGE}.91.",  # annotations of whole slides
    f"{_STORAGE}.104.",  # encapsulated documents
    f"{_STORAGE}.200.",  # protocols
    f"{_STORAGE}.201.",
    f"{_STORAGE}.481.",  # radiotherapy
    "1.2.840.10008.5.1.4.34.",  # worklists, RT delivery
)

CT_IMAGE: Final = f"{_STORAGE}.2"

#: Classic, enhanced and legacy converted enhanced CT: values in Hounsfield units or as stated.
CT_CLASSES: Final = frozenset({CT_IMAGE, f"{_STORAGE}.2.1", f"{_STORAGE}.2.2"})

#: Classic single-frame classes whose instances are slices of a volume.
SLICE_CLASSES: Final = frozenset(
    {
        CT_IMAGE,
        f"{_STORAGE}.4",  # MR Image Storage
        f"{_STORAGE}.128",  # PET Image Storage
    }
)

#: Frames are slices, with a place in the patient each, kept in functional groups (PS3.3
#: C.7.6.16). Enhanced X-ray angiography is not here: its frames may have none.
ENHANCED_CLASSES: Final = frozenset(
    {
        f"{_STORAGE}.2.1",
        f"{_STORAGE}.2.2",
        f"{_STORAGE}.4.1",
        f"{_STORAGE}.4.3",
        f"{_STORAGE}.4.4",
        f"{_STORAGE}.6.2",
        f"{_STORAGE}.13.1.1",
        f"{_STORAGE}.13.1.2",
        f"{_STORAGE}.13.1.3",
        f"{_STORAGE}.128.1",
        f"{_STORAGE}.130",
    }
)


def is_image(sop_class_uid: str) -> bool:
    """Say whether instances of the class are images that can be analysed."""
    return not any(
        sop_class_uid.startswith(uid) if uid.endswith(".") else sop_class_uid == uid
        for uid in _NOT_IMAGES
    )


def name_of(uid: str) -> str:
    """Return the name of a UID from PS3.6, or the UID itself."""
    return str(UID(uid).name)
