"""Inputs for the fuzzer: real and made files, changed where their structure is.

Every input follows from the seed and its number alone, so that one that hangs or kills its
process can be made again outside it.
"""

from __future__ import annotations

import functools
import io
import itertools
import random
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydicom import dcmwrite
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipeline.dicom.headers.wanted import KEYS

_LARGEST: Final = 1 << 18
_VRS: Final = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB"),
    *(b"OD", b"OF", b"OL", b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"SV", b"TM"),
    *(b"UC", b"UI", b"UL", b"UN", b"UR", b"US", b"UT", b"UV", b"ZZ", b"\0\0"),
)
_HEADS: Final = re.compile(
    rb"[\x02-\x7f].[\x00-\xff]{2}(?:" + b"|".join(_VRS[:-2]) + rb")", re.DOTALL
)
_LENGTHS: Final = (0, 1, 2, 3, 8, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_VALUES: Final = (
    *(b"NaN", b"inf", b"-1e308", b"1e400", b"1_0", b"0x10", b"", b"\\\\\\", b"1\\2", b"9" * 64),
    *(b"\xff\xfe", b"\x1b$B0l", b"ISO 2022 IR 87", b"ISO_IR 192", b"GB18030", b"2147483647"),
    *(b"0", b"-1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.90"),
    *(b"1.2.840.10008.1.3.10", b"1.2.840.10008.5.1.4.1.1.2", b"../../x", b"MONOCHROME1", b"RGB"),
    *(b"YBR_FULL_422", b"\xff\xff", b"\0\0", b"\x40\0", b"\x0c\0", b"\1\0\0\0"),
)
_ITEM, _END_ITEM, _END = (
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0",
)
_SYNTAXES: Final = (
    *(ExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian),
    *(ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
)
_OPEN: Final = b"\xff\xff\xff\xff"


def make(seed: int, number: int) -> bytes:
    """Return one input."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - inputs of a test, no secrets
    data = bytearray(chance.choice(bases()))
    for _ in range(min(chance.randint(0, 8), chance.randint(0, 8))):
        places = [match.start() for match in _HEADS.finditer(data, 0, 1 << 14)] or [0]
        chance.choice(_CHANGES)(data, chance.choice(places), chance)
    return bytes(data)


@functools.cache
def bases() -> tuple[bytes, ...]:
    """Return the sound files that inputs are made from, without those that are large."""
    paths = sorted({Path(name) for name in get_testdata_files("**/*")})
    small = (p.read_bytes() for p in paths if p.is_file() and p.stat().st_size <= _LARGEST)
    # Made files are smaller and so are changed where it matters more often: as many as of pydicom.
    real = tuple(small)
    made = slices(1)
    return real + made * max(1, len(real) // len(made))


@functools.cache
def slices(count: int) -> tuple[bytes, ...]:
    """Return so many files of each of the series that the made inputs come from."""
    made = []
    kinds = itertools.product((False, True), _SYNTAXES)
    for series, (is_open, syntax) in enumerate(kinds):
        image = _image(syntax, is_open=is_open)
        image.SeriesInstanceUID = UID(f"1.2.3.{series}")
        made += [_encoded(image, number) for number in range(count)]
    return tuple(made)


def _encoded(image: Dataset, number: int) -> bytes:
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.4.{number}")
    image.ImagePositionPatient = [1.5, -2, 40 * number]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(buffer, image, enforce_file_format=True)
    return buffer.getvalue()


def _image(syntax: UID, *, is_open: bool) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.StudyInstanceUID = UID("1.2.3")
    dataset.SpecificCharacterSet, dataset.SeriesDescription = "ISO_IR 100", "Sch\u00e4del"
    dataset.PatientID, dataset.Modality = "P1", "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.5, 0.5]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "1", "99X"
    outer = Dataset()
    outer.PurposeOfReferenceCodeSequence = [code]
    dataset.ReferencedImageSequence = [outer, Dataset()]
    dataset["ReferencedImageSequence"].is_undefined_length = is_open
    dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x17, "SS", 256)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 4, 4, 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
    dataset.add_new(0x00280120, "SS", -2000)
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = bytes(32)
    dataset["PixelData"].VR = "OW"
    return dataset


def _flip(data: bytearray, place: int, chance: random.Random) -> None:
    at = min(place + chance.randint(0, 15), len(data) - 1)
    if at >= 0:
        data[at] = chance.randint(0, 255)


def _length(data: bytearray, place: int, chance: random.Random) -> None:
    length = chance.choice(_LENGTHS)
    if chance.random() < 0.5:
        data[place + 6 : place + 8] = struct.pack("<H", length & 0xFFFF)
    else:
        data[place + 8 : place + 12] = struct.pack("<I", length)


def _vr(data: bytearray, place: int, chance: random.Random) -> None:
    data[place + 4 : place + 6] = chance.choice(_VRS)


def _tag(data: bytearray, place: int, chance: random.Random) -> None:
    data[place : place + 4] = chance.choice((*KEYS.values(), b"\xe0\x7f\x10\x00", _ITEM))


def _value(data: bytearray, place: int, chance: random.Random) -> None:
    """Give an element of a short VR another value, of the length it states or another."""
    value = chance.choice(_VALUES)
    length = int.from_bytes(data[place + 6 : place + 8], "little")
    if chance.random() < 0.5:
        value = value.ljust(length)[:length]
    data[place + 6 : place + 8 + length] = struct.pack("<H", len(value)) + value


def _cut(data: bytearray, place: int, chance: random.Random) -> None:
    del data[place + chance.randint(0, 12) :]


def _remove(data: bytearray, place: int, chance: random.Random) -> None:
    del data[place : place + chance.randint(1, 40)]


def _repeat(data: bytearray, place: int, chance: random.Random) -> None:
    data[place:place] = data[place : place + chance.randint(1, 80)] * chance.choice((1, 1, 2, 50))


def _splice(data: bytearray, place: int, chance: random.Random) -> None:
    other = chance.choice(bases())
    data[place:] = other[chance.randint(0, len(other)) :]


def _nest(data: bytearray, place: int, chance: random.Random) -> None:
    depth = chance.choice((1, 2, 17, 40, 600, 3000))
    head = chance.choice(
        (b"\x08\x00\x40\x11SQ\0\0", b"\x09\x00\x01\x10UN\0\0", b"\x08\x00\x40\x11")
    )
    closed = (_END_ITEM + _END) * (depth if chance.random() < 0.7 else 0)
    data[place:place] = (head + _OPEN + _ITEM + _OPEN) * depth + closed


def _nest_with_lengths(data: bytearray, place: int, chance: random.Random) -> None:
    nested = b""
    for _ in range(chance.choice((1, 3, 20, 60, 400))):
        item = _ITEM + struct.pack("<I", len(nested)) + nested
        nested = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<I", len(item)) + item
    data[place:place] = nested


_CHANGES: Final[tuple[Callable[[bytearray, int, random.Random], None], ...]] = (
    *(_flip, _flip, _length, _length, _vr, _tag, _value, _value, _value),
    *(_cut, _remove, _repeat, _splice, _nest, _nest_with_lengths),
)
