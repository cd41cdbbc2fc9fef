"""Pixel rules: where devices burn text into their images, stated by who looked at them.

A YAML document::

    rules:
      - match: {manufacturer: "ACME*", model: "Sono 5*", modality: US, rows: 600, columns: 800}
        blank: [[0, 0, 800, 60]]       # x, y, width, height in pixels, of every frame
      - match: {modality: OT, model: "Camera"}
        clean: true                    # looked at: nothing is burned in

The first rule that matches counts. ``*`` and ``?`` stand for any letters, capitals do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydicom.dataset import Dataset

from pipeline.config import reading
from pipeline.config.refusal import ConfigRefused
from pipeline.dicom.headers.elements import integer_of, text_of

_KEYWORDS: Final = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "modality": "Modality",
    "sop_class": "SOPClassUID",
}
Place = Annotated[int, Field(ge=0, le=65535)]
Extent = Annotated[int, Field(ge=1, le=65535)]


class RulesInvalid(ValueError):
    """The document is no list of pixel rules; says what is wrong with it."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(_Strict):
    """Which instances a rule is for. What is not stated matches everything."""

    manufacturer: str | None = None
    model: str | None = None
    modality: str | None = None
    sop_class: str | None = None
    rows: Extent | None = None
    columns: Extent | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Match:
        if not self.model_dump(exclude_none=True):
            message = "a rule must say what it matches"
            raise ValueError(message)
        return self

    def fits(self, dataset: Dataset) -> bool:
        """Say whether an instance is of this kind."""
        for name, keyword in _KEYWORDS.items():
            pattern = getattr(self, name)
            stated = text_of(dataset, keyword)
            if pattern is not None and not fnmatchcase(stated.lower(), pattern.lower()):
                return False
        sizes = ((self.rows, "Rows"), (self.columns, "Columns"))
        return all(size is None or integer_of(dataset, keyword) == size for size, keyword in sizes)


class PixelRule(_Strict):
    """What is done to the pixels of the instances it matches: blanked, or stated clean."""

    match: Match
    blank: tuple[tuple[Place, Place, Extent, Extent], ...] = ()
    clean: bool = False

    @model_validator(mode="after")
    def _does_one_thing(self) -> PixelRule:
        if self.clean == bool(self.blank):
            message = "a rule either blanks rectangles or states `clean: true`"
            raise ValueError(message)
        return self


class _Document(_Strict):
    rules: tuple[PixelRule, ...]


@dataclass(frozen=True)
class PixelRules:
    """The rules in their order."""

    rules: tuple[PixelRule, ...] = ()

    def find(self, dataset: Dataset) -> PixelRule | None:
        """Return the first rule for an instance."""
        return next((rule for rule in self.rules if rule.match.fits(dataset)), None)


def parse(text: str) -> PixelRules:
    """Read pixel rules from YAML.

    Raises:
        RulesInvalid: no plain YAML, or a field is missing, unknown, given twice or out of its
            range.

    """
    try:
        document = _Document.model_validate(reading.plain_yaml("the pixel rules", text))
    except ConfigRefused as refused:
        raise RulesInvalid("; ".join(refused.faults)) from None
    except ValidationError as error:
        raise RulesInvalid(_faults(error)) from None
    return PixelRules(document.rules)


def _faults(error: ValidationError) -> str:
    listed: Sequence[str] = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'rules'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(listed)
