"""Files that are broken or meant to harm: each costs itself or its series, never a reader."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from pipeline.reasons import Reason
from pipeline.volume import Image, Input, Volume
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.cases.case import Case, Fault, Make, each, found, one, raw, slices
from tests.pipeline.dicom.cases.usual_faults import in_order, make_enhanced, shear

_SEQUENCE = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
_END_OF_SEQUENCE = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
#: of the first element of group 0010, which the made slices have
_PATIENT = b"\x10\x00\x10\x00PN"
_WHOLE = ("volume ok",)
_LOST = ("volume series.missing_slice",)


def encoded(dataset: Dataset) -> bytes:
    """Return a data set as the bytes of its file."""
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def lone(change: Callable[[bytes], bytes], *faults: Fault) -> Make:
    """Make one slice, changed as bytes."""

    def make(folder: Path) -> None:
        made = [series.instance(0)]
        for fault in faults:
            fault(made)
        (folder / "file.dcm").write_bytes(change(encoded(made[0])))

    return make


def _content(data: bytes) -> Make:
    return lambda folder: (folder / "file.dcm").write_bytes(data)


def _in_a_series(number: int, change: Callable[[bytes], bytes]) -> Make:
    """Make a sound series, then change one of its files as bytes."""

    def make(folder: Path) -> None:
        series.write(folder, series.stack())
        path = folder / f"{5 - number:04}.dcm"
        path.write_bytes(change(path.read_bytes()))

    return make


def _without_transfer_syntax(data: bytes) -> bytes:
    element = b"\x02\x00\x10\x00UI\x14\x00" + b"1.2.840.10008.1.2.1\0"
    assert data.count(element) == 1
    length = int.from_bytes(data[140:144], "little") - len(element)
    return data[:140] + struct.pack("<I", length) + data[144:].replace(element, b"")


def _nested(depth: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        place = data.index(_PATIENT)
        return data[:place] + _SEQUENCE * depth + _END_OF_SEQUENCE * depth + data[place:]

    return change


def _before_patient(element: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(_PATIENT, element + _PATIENT, 1)


def _without_meta(data: bytes) -> bytes:
    start = data.index(b"\x08\x00\x08\x00CS")
    return data[start:]


def _bomb(folder: Path) -> None:
    """Write a deflated file of 600 kB with 600 MB of nothing in a private element."""
    plain, packed = series.instance(0), series.instance(0)
    packed.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta = encoded(packed)
    meta = meta[: 144 + int.from_bytes(meta[140:144], "little")]
    before, after = _without_meta(encoded(plain)).split(_PATIENT)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    length = 600 * 2**20
    element = b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", length)
    with (folder / "file.dcm").open("wb") as file:
        file.write(meta + deflater.compress(before + element))
        for _ in range(600):
            file.write(deflater.compress(bytes(2**20)))
        file.write(deflater.compress(_PATIENT + after) + deflater.flush())


def _compressed(syntax: UID, fragments: list[bytes], *, frames: int = 1) -> Fault:
    def fault(made: list[Dataset]) -> None:
        for dataset in made:
            dataset.PixelData = encapsulate(fragments, has_bot=False)
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = syntax
            if frames > 1:
                dataset.NumberOfFrames = frames

    return fault


def _codestream(rows: int, columns: int) -> bytes:
    """Return the main header of a JPEG 2000 code stream that states a size (ISO 15444-1 A.5.1)."""
    size = struct.pack(
        ">HHHIIIIIIIIHBBB",
        *(0xFF51, 41, 0, columns, rows, 0, 0, columns, rows, 0, 0, 1, 15, 1, 1),
    )
    return b"\xff\x4f" + size + b"\xff\xd9" + b"\0"


def _rle_bomb() -> bytes:
    """Return an RLE frame whose segments repeat far beyond the 96 bytes of the image."""
    runs = b"\x81\x00" * 50_000  # each byte pair stands for 128 bytes
    header = struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13)
    return header + runs + runs


def _broken_offset_table(data: bytes) -> bytes:
    """Let the offset table of compressed pixels point nowhere."""
    start = data.index(b"\xfe\xff\x00\xe0\x04\0\0\0") + 8
    return data[:start] + b"\xff\xff\xff\x7f" + data[start + 4 :]


def _rle(made: list[Dataset]) -> None:
    for dataset in made:
        dataset.compress(RLELossless, generate_instance_uid=False)


def _palette_index(made: list[Dataset]) -> None:
    """State a table of 256 entries and hand in two."""
    image = made[0]
    made[:] = [image]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.6.1")
    image.Modality, image.PhotometricInterpretation = "US", "PALETTE COLOR"
    image.Rows, image.Columns, image.PixelRepresentation = 1, 4, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    image.PixelData = bytes([0, 1, 2, 200])
    for colour in ("Red", "Green", "Blue"):
        setattr(image, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(image, f"{colour}PaletteColorLookupTableData", bytes(4))
    del image.ImagePositionPatient, image.ImageOrientationPatient


def _float64(made: list[Dataset]) -> None:
    for dataset in made:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 64, 64, 63
        dataset.PixelData = bytes(8 * series.ROWS * series.COLUMNS)


def _same_uid_other_content(made: list[Dataset]) -> None:
    made[3].SOPInstanceUID = made[2].SOPInstanceUID


def _executable(magic: bytes) -> Callable[[bytes], bytes]:
    """Make a file that is a program, too: its preamble begins as one (CVE-2019-11687)."""
    return lambda data: magic + data[len(magic) :]


def _other_size(made: list[Dataset]) -> None:
    for dataset in made[3:]:
        dataset.Rows = 4
        dataset.PixelData = series.pixels(0, rows=4).tobytes()


def _lone_image(inputs: list[Input]) -> None:
    (image,) = inputs
    assert isinstance(image, Image)
    assert np.array_equal(image.pixels[0], series.pixels(0) - 1024.0)


def _without_slice(inputs: list[Input]) -> None:
    assert not any(isinstance(image, Volume) for image in inputs)


_LONE = ("image ok",)

CASES = (
    Case("37 empty file", _content(b""), files=(Reason.FILE_EMPTY,)),
    Case("38 text named .dcm", _content(b"Modality,CT\n" * 50), files=(Reason.FILE_NOT_DICOM,)),
    Case("39 no preamble", lone(lambda data: data[132:]), series=_LONE, check=_lone_image),
    Case("40 no meta", lone(_without_meta), series=_LONE, check=_lone_image),
    Case(
        "41 meta without transfer syntax",
        lone(_without_transfer_syntax),
        series=_LONE,
        check=_lone_image,
    ),
    Case(
        "41 meta without transfer syntax, nor any identity",
        found("meta_missing_tsyntax.dcm"),
        files=(Reason.FILE_BAD_HEADER,),
    ),
    Case(
        "42 unknown transfer syntax",
        lone(lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")),
        files=(Reason.FILE_TRANSFER_SYNTAX,),
    ),
    Case(
        "43 truncated pixels",
        _in_a_series(2, lambda data: data[:-5]),
        files=(Reason.FILE_TRUNCATED,),
        series=_LOST,
    ),
    Case(
        "44 pixels longer than declared",
        slices(one(2, PixelData=bytes(500))),
        files=(Reason.PIXELS_LENGTH_MISMATCH,),
        series=_LOST,
    ),
    Case(
        "45 missing PixelData",
        slices(one(2, PixelData=None)),
        files=(Reason.FILE_NO_PIXELS,),
        series=_LOST,
    ),
    Case("46 Rows = 0", slices(one(2, Rows=0)), files=(Reason.FILE_BAD_HEADER,), series=_LOST),
    Case(
        "47 65535 x 65535",
        slices(one(2, Rows=65535, Columns=65535)),
        files=(Reason.PIXELS_TOO_LARGE,),
        series=_LOST,
    ),
    Case(
        "48 NumberOfFrames 2^31 - 1",
        slices(one(2, NumberOfFrames=2**31 - 1)),
        files=(Reason.PIXELS_TOO_LARGE,),
        series=_LOST,
    ),
    Case(
        "48 NumberOfFrames 0",
        slices(one(2, NumberOfFrames=0)),
        files=(Reason.FILE_BAD_HEADER,),
        series=_LOST,
    ),
    Case(
        "49 Rows with the VR of a larger number",
        slices(raw("Rows", b"\xff\xff\xff\x7f", "UL", only=2)),
        files=(Reason.FILE_BAD_HEADER,),
        series=_LOST,
    ),
    Case(
        "50 BitsAllocated 12",
        slices(one(2, BitsAllocated=12)),
        files=(Reason.PIXELS_UNSUPPORTED,),
        series=_LOST,
    ),
    Case("50 BitsAllocated 64", slices(_float64), files=(Reason.PIXELS_UNSUPPORTED,)),
    Case(
        "51 BitsStored over BitsAllocated",
        slices(each(BitsStored=17, HighBit=16)),
        series=("volume pixels.unsupported",),
    ),
    Case(
        "52 deflated bomb",
        _bomb,
        files=(Reason.PIXELS_TOO_LARGE,),
    ),
    Case(
        "53 RLE bomb",
        slices(_compressed(RLELossless, [_rle_bomb()])),
        series=("volume pixels.length_mismatch",),
    ),
    Case(
        "53 J2K bomb",
        slices(_compressed(JPEG2000Lossless, [_codestream(60_000, 60_000)])),
        series=("volume pixels.length_mismatch",),
    ),
    Case(
        "54 encapsulated with a broken offset table",
        lone(_broken_offset_table, _rle),
        series=("image ok",),
    ),
    Case(
        "55 fragment shorter than three bytes",
        slices(_compressed(JPEG2000Lossless, [b"\xff\x4f"])),
        series=("volume pixels.undecodable",),
    ),
    Case("56 nested sequences, 500", lone(_nested(500)), files=(Reason.FILE_TOO_NESTED,)),
    Case("56 nested sequences, 5000", lone(_nested(5000)), files=(Reason.FILE_TOO_NESTED,)),
    Case(
        "57 sequence of undefined length without an end",
        lone(_before_patient(_SEQUENCE)),
        files=(Reason.FILE_BAD_HEADER,),
    ),
    Case(
        "58 private UN sequence",
        lone(
            _before_patient(
                b"\x09\x00\x10\x00LO\x04\0TEST"
                b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
                b"\x08\x00\x50\x11\x04\0\0\x001.2\0" + _END_OF_SEQUENCE
            )
        ),
        series=_LONE,
        check=_lone_image,
    ),
    Case(
        "59 palette shorter than it states",
        slices(_palette_index),
        series=("image pixels.palette_invalid",),
    ),
    *(
        Case(
            f"60 RescaleSlope {value.decode()!r}",
            slices(raw("RescaleSlope", value)),
            series=("volume pixels.rescale_not_finite",),
        )
        for value in (b"NaN", b"inf", b"-inf", b"0", b"1e308", b"abc", b"")
    ),
    *(
        Case(
            f"61 PixelSpacing {value.decode()}",
            slices(raw("PixelSpacing", value)),
            series=("volume series.geometry_invalid",),
        )
        for value in (b"0\\0", b"-1\\1", b"0.5", b"0,5\\0,5")
    ),
    *(
        Case(
            f"62 ImageOrientationPatient {value.decode()}",
            slices(raw("ImageOrientationPatient", value)),
            series=("volume series.geometry_invalid",),
        )
        for value in (b"0\\0\\0\\0\\0\\0", b"2\\0\\0\\0\\2\\0", b"1\\0\\0\\0.6\\0.8\\0")
    ),
    Case(
        "63 ImagePositionPatient NaN",
        slices(raw("ImagePositionPatient", b"NaN\\NaN\\NaN", only=3)),
        series=("volume series.geometry_invalid",),
    ),
    Case(
        "64 InstanceNumber text",
        slices(raw("InstanceNumber", b"first", "IS")),
        series=_WHOLE,
        check=in_order,
    ),
    Case(
        "64 InstanceNumber duplicate", slices(each(InstanceNumber=7)), series=_WHOLE, check=in_order
    ),
    Case(
        "64 InstanceNumber missing",
        slices(each(InstanceNumber=None)),
        series=_WHOLE,
        check=in_order,
    ),
    *(
        Case(
            f"65 SOPInstanceUID {title}",
            slices(raw("SOPInstanceUID", value, "UI", only=2)),
            files=(Reason.FILE_UID_INVALID,),
            series=_LOST,
        )
        for title, value in (
            ("../../x", b"../../x"),
            ("of 65 characters", b"1." * 32 + b"1"),
            ("empty", b""),
        )
    ),
    Case(
        "66 same UID, different content",
        slices(_same_uid_other_content),
        files=(Reason.FILE_DUPLICATE,),
        series=_LOST,
    ),
    Case(
        "67 two patients in one study",
        slices(one(1, PatientID="P2")),
        series=("volume study.mixed_patients",),
    ),
    Case(
        "68 mixed sizes",
        slices(_other_size),
        series=("volume ok", "volume series.too_few_slices"),
    ),
    Case(
        "68 mixed orientations",
        slices(lambda made: each(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])(made[3:])),
        series=("volume ok", "volume series.too_few_slices"),
    ),
    Case(
        "69 missing slice",
        slices(lambda made: made.pop(2)),
        series=_LOST,
        check=_without_slice,
    ),
    Case(
        "69 duplicate slice",
        slices(one(3, ImagePositionPatient=[10, 20, 40])),
        series=("volume series.duplicate_position",),
    ),
    Case("70 gantry tilt", slices(shear), series=("volume series.gantry_tilt",)),
    Case(
        "71 enhanced with random frame order", slices(make_enhanced), series=_WHOLE, check=in_order
    ),
    Case("72 PE preamble", lone(_executable(b"MZ\x90\0")), series=_LONE, check=_lone_image),
    Case("72 ELF preamble", lone(_executable(b"\x7fELF")), series=_LONE, check=_lone_image),
)
