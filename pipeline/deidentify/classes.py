"""Which objects can be de-identified: those whose attributes the allow-list was made for."""

from __future__ import annotations

from typing import Final

from pipeline.deidentify.profile import Option
from pipeline.deidentify.values import is_well_known
from pipeline.dicom import sop_classes
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1"
#: objects that are no source images and hold numbers, geometry, codes and references
_DERIVED: Final = frozenset(
    {
        f"{_STORAGE}.30",  # parametric map
        f"{_STORAGE}.66.1",  # registrations, fiducials
        f"{_STORAGE}.66.2",
        f"{_STORAGE}.66.3",
        f"{_STORAGE}.66.4",  # segmentations
        f"{_STORAGE}.66.7",
        f"{_STORAGE}.67",  # real-world value mapping
        f"{_STORAGE}.481.1",  # radiotherapy: image, dose, structures, plans
        f"{_STORAGE}.481.2",
        f"{_STORAGE}.481.3",
        f"{_STORAGE}.481.5",
        f"{_STORAGE}.481.8",
    }
)
_REPORTS: Final = f"{_STORAGE}.88."


def check_class(sop_class_uid: str, options: frozenset[Option]) -> None:
    """Refuse an object that nobody can say is clean afterwards.

    Raises:
        FileRefused: private classes, documents, waveforms, raw data, presentations; structured
            reports unless the option that cleans them is on.

    """
    if sop_class_uid.startswith(_REPORTS):
        if Option.CLEAN_STRUCTURED_CONTENT not in options:
            sentence = "a structured report needs the option clean-structured-content"
            raise FileRefused(sentence, Reason.DEIDENTIFY_UNSUPPORTED)
        return
    if sop_class_uid in _DERIVED:
        return
    if not is_well_known(sop_class_uid):
        sentence = "an object of a private or unknown class"
        raise FileRefused(sentence, Reason.DEIDENTIFY_UNSUPPORTED)
    if not sop_classes.is_image(sop_class_uid) or not sop_class_uid.startswith(_STORAGE):
        sentence = f"{sop_classes.name_of(sop_class_uid)} cannot be de-identified"
        raise FileRefused(sentence, Reason.DEIDENTIFY_UNSUPPORTED)
