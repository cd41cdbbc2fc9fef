"""NRRD volumes (Teem's "nearly raw raster data", NRRD0001 to NRRD0005), header and voxels together.

A header that names another file for its voxels is refused: what is hashed and read is one file.
"""

from __future__ import annotations

import bz2
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Volume

_MAGIC: Final = re.compile(rb"NRRD000[1-5]\r?\n")
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_LONGEST_HEADER: Final = 1 << 20
_MOST_BYTES: Final = 1 << 34
_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(
        ("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"
    ),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    "float": "f4",
    "double": "f8",
}
#: signs that take x, y, z of a space to LPS; without a space LPS is meant
_SPACES: Final[Mapping[str, tuple[int, int, int]]] = {
    "": (1, 1, 1),
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
}
#: all that a volume is read by, in an order that readers like: types before vectors
_READ: Final = (
    "type",
    "dimension",
    "space",
    "sizes",
    "space directions",
    "spacings",
    "endian",
    "encoding",
    "space origin",
)
_ELSEWHERE: Final = ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip")


def read(path: Path, unit: str = "") -> Volume:
    """Read a volume of three axes; axes (i, j, k) become (slices, rows, columns) = (k, j, i).

    Args:
        path: of the file.
        unit: of the values, which the file does not say.

    Raises:
        StudyRejected: it is no NRRD file, has another number of axes, a type or an encoding that
            is not read, or fewer or more voxels than its header says.

    """
    try:
        fields, body = _split(path.read_bytes())
        sizes = [int(word) for word in fields["sizes"].split()]
        kind = _TYPES[fields["type"].lower()]
        affine = _affine(fields)
        order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    except (OSError, UnicodeDecodeError, ValueError, KeyError, IndexError) as error:
        raise StudyRejected("it is not a readable NRRD file", Reason.FILE_UNREADABLE) from error
    if fields.get("dimension") != "3" or len(sizes) != 3 or min(sizes) < 1:
        raise StudyRejected("the file has not 3 axes", Reason.SERIES_GEOMETRY_INVALID)
    dtype = np.dtype(f"{order}{kind}")
    voxels = _decoded(body, fields.get("encoding", "").lower(), math.prod(sizes) * dtype.itemsize)
    stored = np.frombuffer(voxels, dtype).reshape(sizes[::-1]).astype(dtype.newbyteorder("="))
    if not np.isfinite(stored).all():
        raise StudyRejected("the file holds values that are not numbers", Reason.PIXELS_NOT_FINITE)
    return Volume(stored=stored, affine=affine, unit=unit)


def without_remarks(data: bytes) -> bytes:
    """Return a file that says nothing beyond what a volume is read by.

    Raises:
        ValueError: it has no header.

    """
    fields, body = _split(data)
    kept = [f"{name}: {fields[name]}" for name in _READ if name in fields]
    return "\n".join(["NRRD0004", *kept]).encode() + b"\n\n" + body


def _split(data: bytes) -> tuple[dict[str, str], bytes]:
    """Return the fields of the header, names in lower case, and what follows it."""
    start, end = _MAGIC.match(data), _HEADER_END.search(data, 0, _LONGEST_HEADER)
    if start is None or end is None:
        raise ValueError("no header")
    lines = data[start.end() : end.start()].decode("utf-8").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    # "key:=value" is a remark, not a field
    fields = {name.strip().lower(): value.strip() for name, value in pairs if value[:1] != "="}
    if any(name in fields and fields[name] != "0" for name in _ELSEWHERE):
        raise ValueError("the voxels lie elsewhere")
    return fields, data[end.end() :]


def _affine(fields: Mapping[str, str]) -> NDArray[np.float64]:
    """Return the affine of (slice, row, column) in LPS."""
    affine = np.eye(4)
    if "space directions" in fields:
        columns = [_vector(word) for word in re.findall(r"\([^)]*\)", fields["space directions"])]
        affine[:3, :3] = np.array(columns[::-1]).T
    else:
        spacings = [float(word) for word in fields.get("spacings", "1 1 1").split()]
        affine[:3, :3] = np.diag(spacings)[:, ::-1]
    if "space origin" in fields:
        affine[:3, 3] = _vector(fields["space origin"])
    return np.diag([*_SPACES[fields.get("space", "").lower()], 1.0]) @ affine


def _vector(word: str) -> list[float]:
    return [float(number) for number in word.strip("() ").split(",")]


def _decoded(body: bytes, encoding: str, size: int) -> bytes:
    """Return exactly ``size`` bytes of voxels; nothing is unpacked beyond them."""
    if size > _MOST_BYTES:
        raise StudyRejected("the volume is absurdly large", Reason.PIXELS_TOO_LARGE)
    unpackers: dict[str, Any] = {
        "gzip": lambda: zlib.decompressobj(wbits=31).decompress(body, size + 1),
        "gz": lambda: zlib.decompressobj(wbits=31).decompress(body, size + 1),
        "bzip2": lambda: bz2.BZ2Decompressor().decompress(body, size + 1),
        "bz2": lambda: bz2.BZ2Decompressor().decompress(body, size + 1),
        "raw": lambda: body,
    }
    if encoding not in unpackers:
        sentence = "the voxels are neither raw nor packed by gzip or bzip2"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    try:
        voxels: bytes = unpackers[encoding]()
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise StudyRejected("the voxels cannot be unpacked", Reason.FILE_UNREADABLE) from error
    if len(voxels) != size:
        sentence = "there are more or fewer voxels than the header says"
        raise StudyRejected(sentence, Reason.PIXELS_LENGTH_MISMATCH)
    return voxels
