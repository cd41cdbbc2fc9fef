"""Index the common kind of file by a walk over its header.

Everything here accepts a file or declines it. What is declined is read again in the way that
reads everything and knows why it refuses.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pipeline.dicom.headers.instance import PixelElement
from pipeline.dicom.headers.judging import (
    check_decodable,
    patient_key_of,
    shape_of,
    sop_class_of,
    uid_of,
)
from pipeline.dicom.headers.packing import pack_stated
from pipeline.dicom.headers.pixel_element import check_fragments
from pipeline.dicom.headers.sizes import Declined, Short
from pipeline.dicom.headers.stated import Stated, encodings_of
from pipeline.dicom.headers.walker import Walker
from pipeline.dicom.headers.wanted import IDENTITY, KEYS, VRS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.source import OpenFile

#: What the verdict on a file rests on, beside its SOPInstanceUID and the length of its pixels.
#: All of it is the same for most files of a series.
_JUDGED: Final = (
    *("TransferSyntaxUID", "MediaStorageSOPClassUID", "SOPClassUID", "SpecificCharacterSet"),
    *("StudyInstanceUID", "SeriesInstanceUID", *IDENTITY),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated"),
    "PhotometricInterpretation",
)
_CHARACTER_SET: Final = _JUDGED.index("SpecificCharacterSet")
_judged_of: Final = operator.itemgetter(*(KEYS[keyword] for keyword in _JUDGED))
_INSTANCE: Final = KEYS["SOPInstanceUID"]
#: whatever the verdict asks of pixels, the walker has seen that they are there
_SOME_PIXELS: Final = PixelElement(offset=0, length=0)
_UID: Final = re.compile(rb"[0-9.]{1,64}")
_UNDEFINED: Final = 0xFFFFFFFF
_SMALLEST_WINDOW, _LARGEST_HEADER = 1 << 12, 1 << 22
#: Verdicts remembered before starting again.
_REMEMBERED: Final = 1 << 12


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    study: str
    series: str
    patient_key: bytes
    #: bytes of the pixels where they are not compressed
    length: int | None
    frames: int


#: stands for what was not judged yet; None = declined
_UNJUDGED: Final = _Verdict(study="", series="", patient_key=b"", length=None, frames=0)


class CommonFiles:
    """Reads the headers of common files, one after the other.

    Args:
        limits: what a header may state.
        salt: key of the patient digests.

    """

    def __init__(self, limits: HeaderLimits, salt: bytes) -> None:
        self._limits, self._salt = limits, salt
        self._walker = Walker()
        #: how much of a file is read at once: a little more than the last header took
        self._window = _SMALLEST_WINDOW
        self._verdicts: dict[tuple[bytes, ...], _Verdict | None] = {}

    def read(self, file: OpenFile, name: str) -> tuple[str, str, str, bytes]:
        """Return the UIDs of study, series and instance, and the packed header.

        Raises:
            Declined: the file is not of the common kind, or there is something wrong with it.

        """
        found, offset, length = self._walk(file)
        judged = _judged_of(found)
        verdict = self._verdicts.get(judged, _UNJUDGED)
        if verdict is _UNJUDGED:
            verdict = self._judge(judged)
        instance = found[_INSTANCE].rstrip(b"\0 ")
        if verdict is None or not _UID.fullmatch(instance):
            raise Declined
        size = file.size
        needed = verdict.length
        if needed is None:
            self._check_fragments(file, offset, length, verdict.frames)
        # One byte of padding makes the length even (PS3.5 8.1.1).
        elif not needed <= length <= needed + 1 or offset + needed > size:
            raise Declined
        packed = pack_stated(found, name, size, (offset, length), verdict.patient_key)
        return verdict.study, verdict.series, instance.decode("ascii"), packed

    def _walk(self, file: OpenFile) -> tuple[dict[bytes, bytes], int, int]:
        data = file.read_at(0, self._window)
        while True:
            try:
                found = self._walker.walk(data)
            except Short as short:
                if short.needed > min(file.size, _LARGEST_HEADER):
                    raise Declined from None
                data = file.read_at(0, max(2 * len(data), short.needed + _SMALLEST_WINDOW))
                continue
            self._window = max(_SMALLEST_WINDOW, found[1] + 512)
            return found

    def _judge(self, judged: tuple[bytes, ...]) -> _Verdict | None:
        """Return the verdict on files that state this; None = not to be read in this way."""
        stated = Stated(
            {
                keyword: (VRS[keyword][0], value)
                for keyword, value in zip(_JUDGED, judged, strict=True)
                if value
            }
        )
        try:
            encodings_of(judged[_CHARACTER_SET])
            verdict = self._verdict(stated)
        except (FileRefused, ValueError):  # the latter: pydicom reads no file that says so
            verdict = None
        if len(self._verdicts) >= _REMEMBERED:
            self._verdicts.clear()
        self._verdicts[judged] = verdict
        return verdict

    def _verdict(self, stated: Stated) -> _Verdict | None:
        syntax = UID(stated.uid("TransferSyntaxUID"))
        check_decodable(syntax)
        if not syntax.is_little_endian:
            return None
        if syntax == DeflatedExplicitVRLittleEndian:
            return None
        sop_class_of(stated, _SOME_PIXELS)
        shape = shape_of(stated, self._limits, is_float=False)
        return _Verdict(
            study=uid_of(stated, "StudyInstanceUID"),
            series=uid_of(stated, "SeriesInstanceUID"),
            patient_key=patient_key_of(stated, self._salt).encode(),
            length=None if syntax.is_compressed else shape.length,
            frames=shape.frames,
        )

    def _check_fragments(self, file: OpenFile, offset: int, length: int, frames: int) -> None:
        if length != _UNDEFINED:
            raise Declined
        try:
            check_fragments(file.read_at, offset, file.size, frames)
        except FileRefused:
            raise Declined from None
