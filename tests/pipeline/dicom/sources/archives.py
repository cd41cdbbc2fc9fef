"""Archives made byte by byte, so that they can lie."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path


def zipped(
    path: Path, members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Write a sound ZIP archive."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return path


def tarred(
    path: Path, members: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT
) -> Path:
    """Write a sound TAR archive."""
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def changed(
    path: Path, name: bytes, *, size: int | None = None, checksum: int | None = None, flags: int = 0
) -> Path:
    """Make the table of contents of a ZIP archive say something else of one member."""
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2")
    while True:
        (length,) = struct.unpack_from("<H", data, place + 28)
        if data[place + 46 : place + 46 + length] == name:
            break
        place = data.index(b"PK\1\2", place + 4)
    if size is not None:
        struct.pack_into("<L", data, place + 24, size)
    if checksum is not None:
        struct.pack_into("<L", data, place + 16, checksum)
    data[place + 8] |= flags
    path.write_bytes(data)
    return path


def raw_zip(path: Path, members: Iterable[tuple[bytes, bytes]], *, mode: int = 0o100644) -> Path:
    """Write a ZIP archive of stored members under any names, also ones no library would write."""
    body, table, count = b"", b"", 0
    for name, data in members:
        numbers = (zlib.crc32(data), len(data), len(data), len(name), 0)
        table += struct.pack("<4s6H3L5H2L", b"PK\1\2", 3 << 8 | 20, 20, 0, 0, 0, 0, *numbers,
                             *(0, 0, 0, mode << 16, len(body))) + name  # fmt: skip
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, *numbers) + name + data
        count += 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(table), len(body), 0)
    path.write_bytes(body + table + end)
    return path
