"""Read the headers of files: a verdict on each, or the facts that grouping and reading need."""

from __future__ import annotations

from pipeline.dicom.headers import functional_groups, packing
from pipeline.dicom.headers.answers import Indexed
from pipeline.dicom.headers.common_files import CommonFiles
from pipeline.dicom.headers.facts import Found, header_of
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.judging import (
    optional_uid_of,
    patient_key_of,
    shape_of,
    sop_class_of,
    transfer_syntax_of,
)
from pipeline.dicom.headers.parsed import stated_in
from pipeline.dicom.headers.pixel_element import check_length
from pipeline.dicom.headers.sizes import Declined
from pipeline.dicom.headers.stated import Stated
from pipeline.dicom.headers.structure import Parsed, parse
from pipeline.dicom.headers.wanted import TAGS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.source import OpenFile
from pipeline.dicom.sources.stream import stream_of
from pipeline.reasons import Reason


class HeaderReader:
    """Reads headers one after the other; those of one series are read fastest in a row.

    Args:
        limits: what a header may state.
        salt: key of ``patient_key``, the same for all files that are compared.

    """

    def __init__(self, limits: HeaderLimits, salt: bytes = b"") -> None:
        self._common = CommonFiles(limits, salt)
        self._limits, self._salt = limits, salt

    def index(self, file: OpenFile, name: str) -> Indexed:
        """Read the header of one file, without its pixels, and leave it packed.

        Args:
            file: the open file.
            name: its name in the source, kept in the header.

        Raises:
            FileRefused: with the reason code and a sentence, for whatever is wrong with the file.

        """
        try:
            return self._common.read(file, name)
        except Declined:
            header = read_by_pydicom(file, name=name, limits=self._limits, salt=self._salt)
        return Indexed(
            header.study_instance_uid,
            header.series_instance_uid,
            header.sop_instance_uid,
            packing.pack(header),
        )

    def read(self, file: OpenFile, name: str) -> InstanceHeader:
        """Read the header of one file, as ``index`` does."""
        try:
            packed = self._common.read(file, name).packed
        except Declined:
            return read_by_pydicom(file, name=name, limits=self._limits, salt=self._salt)
        return packing.unpack(packed)


def read_header(
    file: OpenFile, *, name: str, limits: HeaderLimits, salt: bytes = b""
) -> InstanceHeader:
    """Read the header of a single file, as ``HeaderReader.read`` does of many."""
    return HeaderReader(limits, salt).read(file, name)


def read_by_pydicom(
    file: OpenFile, *, name: str, limits: HeaderLimits, salt: bytes = b""
) -> InstanceHeader:
    """Read any header there is, and refuse any that cannot be read, by name.

    Raises:
        FileRefused: with the reason code and a sentence, for whatever is wrong with the file.

    """
    if file.size == 0:
        raise FileRefused("the file is empty", Reason.FILE_EMPTY)
    stated: Stated | None = None
    try:
        parsed = parse(stream_of(file), file.size, TAGS.values(), limits)
        stated = stated_in(parsed.dataset)
        header = _header(parsed, stated, (name, file.size), limits, salt)
        check_length(header, parsed.stream, parsed.size)
    except Exception as error:  # noqa: BLE001
        # The edge between broken bytes and us: pydicom's parsers raise whatever they meet
        # (struct.error, KeyError, OSError, ...), and none of it may end a scan. What a disk or
        # a network cannot do is a FileRefused already.
        refused = _refusal(error)
        if stated is not None:  # the gate has told them already where it refused
            refused.study_instance_uid = optional_uid_of(stated, "StudyInstanceUID")
            refused.series_instance_uid = optional_uid_of(stated, "SeriesInstanceUID")
            refused.sop_instance_uid = optional_uid_of(stated, "SOPInstanceUID")
        raise refused from None
    return header


def _header(
    parsed: Parsed, stated: Stated, file: tuple[str, int], limits: HeaderLimits, salt: bytes
) -> InstanceHeader:
    sop_class_of(stated, parsed.pixels)
    assert parsed.pixels is not None  # noqa: S101 - sop_class_of refuses a file without pixels
    is_implicit, is_little_endian = parsed.dataset.original_encoding
    syntax = transfer_syntax_of(
        stated, is_implicit=bool(is_implicit), is_little_endian=bool(is_little_endian)
    )
    shape = shape_of(stated, limits, is_float=parsed.pixels.is_float)
    name, size = file
    found = Found(
        name=name,
        size=size,
        transfer_syntax_uid=syntax,
        patient_key=patient_key_of(stated, salt),
        pixels=parsed.pixels,
        places=functional_groups.places_of(parsed.dataset),
    )
    return header_of(stated, found, shape)


def _refusal(error: Exception) -> FileRefused:
    if isinstance(error, FileRefused):
        return error
    if isinstance(error, RecursionError):
        return FileRefused("its sequences are nested too deeply", Reason.FILE_TOO_NESTED)
    if isinstance(error, MemoryError):
        sentence = "its header asks for more memory than is allowed"
        return FileRefused(sentence, Reason.PIXELS_TOO_LARGE)
    sentence = f"its header cannot be parsed ({type(error).__name__})"
    return FileRefused(sentence, Reason.FILE_BAD_HEADER)
