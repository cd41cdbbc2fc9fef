"""Make of one data set another that speaks of nobody: what is new is copied in, never cut out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from pipeline.deidentify import codes, dates, safe_private, values
from pipeline.deidentify.identity import Identity
from pipeline.deidentify.keys import Key
from pipeline.deidentify.profile import Option, Rule, Treatment, rules
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

_DEEPEST: Final = 24
_PATIENT_NAME: Final = Tag("PatientName")
_PATIENT_ID: Final = Tag("PatientID")
_CHARACTER_SET: Final = Tag("SpecificCharacterSet")


@dataclass(frozen=True, kw_only=True)
class Deidentifier:
    """Copies data sets of one instance under the rules of the profile."""

    key: Key
    options: frozenset[Option]
    identity: Identity
    #: every new UID it gave, with the one it stands for
    replaced: dict[str, str] = field(default_factory=dict, repr=False)

    def copy(self, source: Dataset, depth: int = 0) -> Dataset:
        """Return a new data set of what may stay. Pixel data are no concern of it.

        Raises:
            FileRefused: its sequences are nested too deeply.

        """
        if depth > _DEEPEST:
            sentence = f"its sequences are nested more than {_DEEPEST} deep"
            raise FileRefused(sentence, Reason.FILE_TOO_NESTED)
        made = Dataset()
        table = rules(self.options)
        for tag in source.keys():  # noqa: SIM118 - iterating a Dataset converts, and so may raise
            element = self._element(source, tag, table, depth)
            if element is not None:
                made.add(element)
        if codes.is_code(made):
            clean = Option.CLEAN_DESCRIPTORS in self.options
            codes.settle(made, self.key, self.identity, clean=clean)
        return made

    def _element(
        self, source: Dataset, tag: BaseTag, table: Mapping[int, Rule], depth: int
    ) -> DataElement | None:
        """Return what becomes of one element, or None where nothing does."""
        if tag.is_private:
            return self._private(source, tag)
        rule = table.get(int(tag))
        if rule is None or rule.treatment is Treatment.REMOVE or tag == _CHARACTER_SET:
            return None
        element = _read(source, tag)
        if element is None:
            return None
        if element.VR == "SQ":
            return self._sequence(element, rule, depth)
        if tag in (_PATIENT_ID, _PATIENT_NAME):
            return DataElement(tag, element.VR, self.key.pseudonym(self.identity.patient))
        return self._value(element, rule)

    def _value(self, element: DataElement, rule: Rule) -> DataElement | None:
        tag, vr = element.tag, str(element.VR)
        match rule.treatment:
            case Treatment.EMPTY:
                return values.empty(tag, vr)
            case Treatment.DUMMY:
                return self._dummy(element)
            case Treatment.NEW_UID:
                made = values.new_uids(element, self._new_uid) if vr == "UI" else None
            case Treatment.SHIFT:
                made = self._shifted(element, vr)
            case Treatment.CLEAN:
                made = self._cleaned(element, vr)
            case _:
                made = element if self._may_stay(element, vr) else None
        return made if made is not None else self._instead(element, rule)

    def _new_uid(self, original: str) -> str:
        made = self.key.uid(original)
        self.replaced[made] = original
        return made

    def _may_stay(self, element: DataElement, vr: str) -> bool:
        if vr == "UI":
            return values.kept_uids(element)
        return values.may_stay(element, self.identity)

    def _instead(self, element: DataElement, rule: Rule) -> DataElement | None:
        """Return what stands for a value that cannot stay, by the type of its attribute."""
        if rule.type == 1 and element.VR != "CS":
            return self._dummy(element)
        return values.empty(element.tag, str(element.VR)) if rule.type == 2 else None

    def _dummy(self, element: DataElement) -> DataElement | None:
        if element.VR == "UI":
            return values.new_uids(element, self._new_uid)
        return values.dummy(element.tag, str(element.VR))

    def _shifted(self, element: DataElement, vr: str) -> DataElement | None:
        if element.is_empty:
            return values.empty(element.tag, vr)
        days = self.key.shift(self.identity.patient)
        if vr == "DA":
            return values.mapped(element, lambda text: dates.shifted_date(text, days))
        if vr == "DT":
            return values.mapped(element, lambda text: dates.shifted_date_time(text, days))
        return element if vr == "TM" and values.may_stay(element, self.identity) else None

    def _cleaned(self, element: DataElement, vr: str) -> DataElement | None:
        if vr not in values.TEXT:
            return None
        if element.is_empty:
            return values.empty(element.tag, vr)
        made = values.mapped(element, self.identity.cleaned)
        is_left = made is not None and any(values.values_of(made))
        return made if is_left and made is not None else None

    def _sequence(self, element: DataElement, rule: Rule, depth: int) -> DataElement | None:
        items = list(element.value or ())
        if rule.treatment is Treatment.EMPTY:
            return values.empty(element.tag, "SQ")
        if rule.treatment is Treatment.DUMMY:
            made = [_hollow(self.copy(item, depth + 1)) for item in items[:1]]
        else:
            made = [self.copy(item, depth + 1) for item in items]
        return DataElement(element.tag, "SQ", Sequence(made))

    def _private(self, source: Dataset, tag: BaseTag) -> DataElement | None:
        """Return a private element of the safe list, or the creator of one (PS3.15 E.3.10)."""
        if Option.SAFE_PRIVATE not in self.options:
            return None
        if tag.is_private_creator:
            element = _read(source, tag)
            is_known = element is not None and safe_private.is_creator(str(element.value))
            return element if is_known else None
        creator = source.get((tag.group, tag.element >> 8))
        vr = safe_private.vr_of(str(creator.value) if creator else "", tag)
        element = None if vr is None else _read(source, tag)
        if element is None or vr is None or str(element.VR) != vr:
            return None
        return element if values.may_stay(element, self.identity) else None


def _read(source: Dataset, tag: BaseTag) -> DataElement | None:
    """Return an element, or None where its bytes cannot be read as its VR."""
    try:
        element: DataElement = source[tag]
        str(element.VM)
    except Exception:  # noqa: BLE001 - see elements.value_of
        return None
    return element


def _hollow(item: Dataset) -> Dataset:
    """Return an item of which every value has become a dummy; only UIDs and numbers stay."""
    made = Dataset()
    for element in item:
        replaced: Any = element
        if element.VR == "SQ":
            replaced = DataElement(element.tag, "SQ", Sequence([_hollow(i) for i in element.value]))
        elif element.VR in values.TEXT | {"PN"}:
            replaced = values.dummy(element.tag, str(element.VR))
        made.add(replaced)
    return made
