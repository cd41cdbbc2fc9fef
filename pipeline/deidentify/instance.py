"""De-identify one file: read it, copy what may stay, write it under a name that says nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipeline.deidentify import blanking, burned_in, pixels
from pipeline.deidentify.classes import check_class
from pipeline.deidentify.dataset import Deidentifier
from pipeline.deidentify.identity import identity_of
from pipeline.deidentify.keys import Key
from pipeline.deidentify.marks import mark
from pipeline.deidentify.originals import originals_of
from pipeline.deidentify.pixel_rules import PixelRule, PixelRules
from pipeline.deidentify.profile import Option
from pipeline.deidentify.values import is_uid
from pipeline.deidentify.writing import Made, encoded, name_of
from pipeline.dicom import sop_classes
from pipeline.dicom.headers.elements import text_of
from pipeline.dicom.headers.structure import Parsed, parse
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.source import OpenFile
from pipeline.dicom.sources.stream import stream_of
from pipeline.reasons import Reason

_IDENTIFIERS: Final = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
#: describe compressed pixels, which blanked ones are not
_OFFSETS: Final = (
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    "EncapsulatedPixelDataValueTotalLength",
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """How files are de-identified. Two files under one method agree in UIDs, names and dates."""

    key: Key
    options: frozenset[Option] = frozenset()
    rules: PixelRules = field(default_factory=PixelRules)
    limits: HeaderLimits = field(default_factory=HeaderLimits)

    def make(self, file: OpenFile) -> Made:
        """De-identify one open file, as ``deidentify`` says."""
        return deidentify(file, self)


def deidentify(file: OpenFile, method: Method) -> Made:
    """De-identify one open file.

    Raises:
        FileRefused: it is no DICOM file that can be read, its class cannot be de-identified, or
            its pixels may show who the patient is.

    """
    if file.size == 0:
        raise FileRefused("the file is empty", Reason.FILE_EMPTY)
    parsed = parse(stream_of(file), file.size, None, method.limits)
    source = parsed.dataset
    _check(source, method.options)
    syntax = _syntax(source)
    rule = _pixel_rule(parsed, method)
    identity = identity_of(
        source, may_name_institutions=Option.INSTITUTION_IDENTITY in method.options
    )
    deidentifier = Deidentifier(key=method.key, options=method.options, identity=identity)
    made = deidentifier.copy(source)
    mark(made, deidentifier, is_clean=rule is not None)
    written = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    data: Iterable[bytes] = ()
    mask = None if parsed.pixels is None else pixels.mask_of(source, syntax)
    if rule is not None and rule.blank:
        blanked = blanking.blank(_whole(file), syntax, rule.blank, mask)
        _describe(made, blanked)
        written = ExplicitVRLittleEndian
        data = [pixels.plain_element(blanked.value, blanked.attributes["BitsAllocated"])]
    elif parsed.pixels is not None:
        data = pixels.pixel_stream(parsed, parsed.pixels, written, identity, mask).chunks()
    return Made(
        name=name_of(made),
        header=encoded(made, written),
        pixels=data,
        originals=originals_of(source, made, deidentifier),
    )


def _check(source: Dataset, options: frozenset[Option]) -> None:
    sop_class = text_of(source, "SOPClassUID")
    media = str(source.file_meta.get("MediaStorageSOPClassUID", ""))
    if media == sop_classes.MEDIA_DIRECTORY or "DirectoryRecordSequence" in source:
        sentence = "it is a DICOMDIR, the table of contents of a medium"
        raise FileRefused(sentence, Reason.FILE_MEDIA_DIRECTORY)
    if not is_uid(sop_class):
        raise FileRefused("it states no valid SOPClassUID", Reason.FILE_BAD_HEADER)
    for keyword in _IDENTIFIERS:
        if not is_uid(text_of(source, keyword)):
            # The value is not quoted: a broken UID may hold anything.
            raise FileRefused(f"it states no valid {keyword}", Reason.FILE_UID_INVALID)
    check_class(sop_class, options)


def _syntax(source: Dataset) -> UID:
    stated = source.file_meta.get("TransferSyntaxUID")
    if stated is None:
        is_implicit, is_little = source.original_encoding
        if is_implicit:
            return ImplicitVRLittleEndian
        return ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    syntax = UID(str(stated))
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise FileRefused("an unknown transfer syntax", Reason.FILE_TRANSFER_SYNTAX)
    return syntax


def _pixel_rule(parsed: Parsed, method: Method) -> PixelRule | None:
    """Return the rule for the pixels, None where they need none.

    Raises:
        FileRefused: they may show who the patient is, and no rule is for them.

    """
    if parsed.pixels is None:
        return None
    rule = method.rules.find(parsed.dataset)
    risk = burned_in.risk_of(parsed.dataset)
    if rule is None and risk is not None:
        raise FileRefused(f"{risk}, and no pixel rule is for it", Reason.DEIDENTIFY_BURNED_IN)
    return rule


def _whole(file: OpenFile) -> Dataset:
    return dcmread(stream_of(file), force=True)


def _describe(made: Dataset, blanked: blanking.Blanked) -> None:
    for keyword, value in blanked.attributes.items():
        setattr(made, keyword, value)
    for keyword in _OFFSETS:
        if keyword in made:
            delattr(made, keyword)
