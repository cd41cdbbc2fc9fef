"""The way back: results made on a de-identified copy, given the names of the originals again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pipeline.deidentify import carrying, dates, values
from pipeline.deidentify.carrying import Report, carry
from pipeline.deidentify.identity_map import IdentityMap
from pipeline.deidentify.keys import Key
from pipeline.deidentify.originals import PATIENT, STUDY
from pipeline.deidentify.writing import Made, encoded, name_of
from pipeline.dicom.headers.elements import text_of
from pipeline.dicom.headers.structure import parse
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.source import OpenFile
from pipeline.dicom.sources.stream import stream_of
from pipeline.reasons import Reason

_MARKS: Final = (
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    "LongitudinalTemporalInformationModified",
)
#: dates that results copy from their source beside those of the study
_COPIED: Final = ("AcquisitionDate", "AcquisitionDateTime")
_DEEPEST: Final = 24


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """What the results are given back. Goes to the children whole."""

    identities: IdentityMap = field(repr=False)
    limits: HeaderLimits = field(default_factory=HeaderLimits)

    def make(self, file: OpenFile) -> Made:
        """Return the instance with its original identifiers.

        Raises:
            FileRefused: it is no DICOM file, or of no study of the map.

        """
        if file.size == 0:
            raise FileRefused("the file is empty", Reason.FILE_EMPTY)
        # what the header states is checked before the file is read as a whole
        parse(stream_of(file), file.size, None, self.limits)
        dataset = dcmread(stream_of(file), force=True)
        syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)))
        study = self.identities.studies.get(text_of(dataset, "StudyInstanceUID"))
        if study is None:
            sentence = "it is of no study in the identity map"
            raise FileRefused(sentence, Reason.DEIDENTIFY_NOT_IN_MAP)
        dataset.decode()
        self._restore(dataset, study)
        return Made(name=name_of(dataset), header=encoded(dataset, syntax), pixels=(), originals={})

    def _restore(self, dataset: Dataset, study: Mapping[str, Any]) -> None:
        patient = self.identities.patients[study["pseudonym"]]
        for keyword in (*PATIENT, *STUDY, *_MARKS):
            if keyword in dataset:
                delattr(dataset, keyword)
        for module in (patient["module"], study["module"]):
            for element in Dataset.from_json(module):
                dataset.add(element)
        if self.identities.has_moved_dates:
            self._move_back(dataset, int(patient["shift"]))
        self._rename(dataset, 0)
        dataset.SpecificCharacterSet = "ISO_IR 192"

    def _move_back(self, dataset: Dataset, shift: int) -> None:
        for keyword in _COPIED:
            if keyword not in dataset or dataset[keyword].is_empty:
                continue
            element = dataset[keyword]
            moved = values.mapped(element, _mover(str(element.VR), -shift))
            if moved is not None:
                dataset[keyword] = moved

    def _rename(self, dataset: Dataset, depth: int) -> None:
        """Give every UID of the map its original, in all sequences."""
        if depth > _DEEPEST:
            sentence = f"its sequences are nested more than {_DEEPEST} deep"
            raise FileRefused(sentence, Reason.FILE_TOO_NESTED)
        known = self.identities.uids
        for element in dataset:
            if element.VR == "SQ":
                for item in element.value or ():
                    self._rename(item, depth + 1)
            elif element.VR == "UI" and not element.is_empty:
                stated = [str(value) for value in values.values_of(element)]
                if any(uid in known for uid in stated):
                    renamed = [known.get(uid, uid) for uid in stated]
                    value = renamed if len(renamed) > 1 else renamed[0]
                    dataset[element.tag] = DataElement(element.tag, "UI", value)


def reidentify(
    source: str,
    out: Path,
    identities: IdentityMap,
    key: Key,
    on_progress: Callable[[int], None],
) -> Report:
    """Give every result of a folder its original identifiers.

    Raises:
        SourceRefused: the source does not exist or cannot be listed.
        ComputeFailed: the folder cannot be written.

    """
    work = Restoration(identities=identities)
    order = carrying.Order(source=source, out=out, work=work, key=key)
    return carry(order, keep=_nowhere, on_progress=on_progress)


def _mover(vr: str, days: int) -> Callable[[str], str | None]:
    if vr == "DA":
        return lambda text: dates.shifted_date(text, days)
    return lambda text: dates.shifted_date_time(text, days)


def _nowhere(originals: object) -> None:
    """Keep nothing: the map is there already."""
