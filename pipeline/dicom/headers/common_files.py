"""Index the common kind of file by a walk over its header.

Everything here accepts a file or declines it. What is declined is read again in the way that
reads everything and knows why it refuses.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pipeline.dicom.headers.answers import Indexed
from pipeline.dicom.headers.instance import PixelElement
from pipeline.dicom.headers.judging import (
    check_decodable,
    patient_key_of,
    shape_of,
    sop_class_of,
    uid_of,
)
from pipeline.dicom.headers.layouts import OWN, Layout, Walked
from pipeline.dicom.headers.packing import OWN_TAGS, pack_own, pack_shared
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
_own_of: Final = operator.itemgetter(*OWN_TAGS)
#: whatever the verdict asks of pixels, the walker has seen that they are there
_SOME_PIXELS: Final = PixelElement(offset=0, length=0)
_UID: Final = re.compile(rb"[0-9.]{1,64}")
_UNDEFINED: Final = 0xFFFFFFFF
_SMALLEST_WINDOW, _LARGEST_HEADER = 1 << 12, 1 << 22
#: Verdicts remembered before starting again.
_REMEMBERED: Final = 1 << 12
#: Layouts remembered before starting again; each may be as long as a header.
_LAYOUTS: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    study: str
    series: str
    patient_key: bytes
    #: bytes of the pixels where they are not compressed
    length: int | None
    frames: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Accepted:
    """What is the same for all files of one layout: the verdict, and most of their bytes."""

    verdict: _Verdict
    #: from ``pack_shared``
    shared: bytes
    #: takes the files' own values, then those that they share, to the order of ``OWN_TAGS``
    own_of: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    held: tuple[bytes, ...]


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
        #: None where the files of a layout differ in more than ``OWN_TAGS``
        self._accepted: dict[Layout, _Accepted | None] = {OWN: None}

    def read(self, file: OpenFile, name: str) -> Indexed:
        """Return the UIDs of study, series and instance, and the packed header.

        Raises:
            Declined: the file is not of the common kind, or there is something wrong with it.

        """
        walked = self._walk(file)
        layout, values, offset, length = walked
        try:
            accepted = self._accepted[layout]
        except KeyError:
            accepted = self._accept(layout)
        if accepted is None:
            found = walked.found
            verdict = self._verdict_of(found)
            own, shared = _own_of(found), pack_shared(found, verdict.patient_key)
        else:
            verdict, shared = accepted.verdict, accepted.shared
            own = accepted.own_of((*values, *accepted.held))
        instance = own[0].rstrip(b"\0 ")
        if not _UID.fullmatch(instance):
            raise Declined
        size, needed = file.size, verdict.length
        if needed is None:
            self._check_fragments(file, offset, length, verdict.frames)
        # One byte of padding makes the length even (PS3.5 8.1.1).
        elif not needed <= length <= needed + 1 or offset + needed > size:
            raise Declined
        packed = pack_own(own, name, size, (offset, length), shared)
        return Indexed(verdict.study, verdict.series, instance.decode("ascii"), packed)

    def _walk(self, file: OpenFile) -> Walked:
        data = file.read_at(0, self._window)
        while True:
            try:
                walked = self._walker.walk(data)
            except Short as short:
                if short.needed > min(file.size, _LARGEST_HEADER):
                    raise Declined from None
                data = file.read_at(0, max(2 * len(data), short.needed + _SMALLEST_WINDOW))
                continue
            self._window = max(_SMALLEST_WINDOW, walked.offset + 512)
            return walked

    def _accept(self, layout: Layout) -> _Accepted | None:
        """Return what is the same for all files of a layout.

        Raises:
            Declined: all of them are to be read in another way.

        """
        accepted = None
        if set(layout.tags) <= set(OWN_TAGS):
            verdict = self._verdict_of(layout.held)
            places = (*layout.tags, *OWN_TAGS)
            accepted = _Accepted(
                verdict=verdict,
                shared=pack_shared(layout.held, verdict.patient_key),
                own_of=operator.itemgetter(*map(places.index, OWN_TAGS)),
                held=_own_of(layout.held),
            )
        if len(self._accepted) >= _LAYOUTS:
            self._accepted = {OWN: None}
        self._accepted[layout] = accepted
        return accepted

    def _verdict_of(self, found: Mapping[bytes, bytes]) -> _Verdict:
        """Return the verdict on a file that states this.

        Raises:
            Declined: it is to be read in another way.

        """
        judged = _judged_of(found)
        try:
            verdict = self._verdicts[judged]
        except KeyError:
            verdict = self._judge(judged)
        if verdict is None:
            raise Declined
        return verdict

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
