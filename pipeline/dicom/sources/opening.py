"""Open the files of a source, wherever it is."""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import Final

from pipeline.dicom.refusal import SourceRefused
from pipeline.dicom.sources import archive_tar, dicomdir_records
from pipeline.dicom.sources.archive_tar import TarArchive
from pipeline.dicom.sources.archive_zip import ZipArchive
from pipeline.dicom.sources.bucket import SCHEME, Bucket
from pipeline.dicom.sources.dicomdir import DicomDirectory
from pipeline.dicom.sources.folder import Folder
from pipeline.dicom.sources.source import Source
from pipeline.reasons import Reason

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
#: Packed as a whole, so that no file in them can be read without all that stand before it.
_PACKED: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "RAR",
}
#: enough for the file meta information of a DICOMDIR and the first header of a TAR
_HEAD: Final = 4096


def open_source(address: str) -> Source:
    """Return the source at an address: a folder, a ZIP, a TAR, a DICOMDIR, s3:// or one file.

    Of a file no more than its start is read; that there is such a source is found out by
    ``entries`` or ``open``. Archives are remembered in this process, with their tables of
    contents, for as long as the file is the same.

    Raises:
        SourceRefused: the address is in a bucket and cannot be, or a file of a kind that must
            be unpacked first.

    """
    if address.startswith(SCHEME):
        return Bucket(address)
    path = Path(address)
    try:
        status = path.stat()
        # A FIFO would block for ever: only regular files are looked into.
        head = _head_of(path) if stat.S_ISREG(status.st_mode) else b""
    except (OSError, ValueError):
        return Folder(path)
    if dicomdir_records.is_directory(head):
        return DicomDirectory(path.resolve())
    match archive_kind(head):
        case None:
            return Folder(path)
        case "ZIP" | "TAR" as kind:
            identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            return _archive(kind, path.resolve(), identity)
        case kind:
            sentence = f"{kind} cannot be read file by file: unpack it, or give a ZIP or plain TAR"
            raise SourceRefused(sentence, Reason.SOURCE_UNREADABLE)


def archive_kind(head: bytes) -> str | None:
    """Name the kind of archive that begins with these bytes (512 or more), None if it is none."""
    if head[128:132] == b"DICM":
        return None
    if head.startswith(_ZIP):
        return "ZIP"
    if archive_tar.is_header(head[: archive_tar.BLOCK]):
        return "TAR"
    return next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)


@functools.lru_cache(maxsize=2)
def _archive(kind: str, path: Path, identity: tuple[int, ...]) -> Source:
    del identity  # another archive under the same name is another one to the cache
    return ZipArchive(path) if kind == "ZIP" else TarArchive(path)


def _head_of(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _HEAD)
    finally:
        os.close(descriptor)
