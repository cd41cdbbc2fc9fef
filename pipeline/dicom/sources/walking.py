"""Walk a folder: every entry once, in one order, without following a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.dicom.sources.source import Entry
from pipeline.reasons import Reason


def walk(root: Path) -> Iterator[Entry]:
    """Yield the entries below a folder, sorted by path, parents before what is in them.

    Links, FIFOs, sockets and devices are named and not opened; a folder that cannot be listed
    is named like a file. Only one folder's names are held in memory at a time and per level.
    """
    pending: list[str] = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            sentence = f"the folder cannot be listed: {os.strerror(error.errno or 0)}"
            yield Entry(name=_shown(folder), size=0, refused=(Reason.FILE_UNREADABLE, sentence))
            continue
        folders: list[str] = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            else:
                yield _entry(entry, name)
        pending.extend(reversed(folders))


def _entry(entry: os.DirEntry[str], name: str) -> Entry:
    shown = _shown(name)
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        sentence = f"it cannot be read: {os.strerror(error.errno or 0)}"
        return Entry(name=shown, size=0, refused=(Reason.FILE_UNREADABLE, sentence))
    if not stat.S_ISREG(status.st_mode):
        sentence = f"{_kind(status.st_mode)} is not opened"
        return Entry(name=shown, size=0, refused=(Reason.FILE_NOT_REGULAR, sentence))
    if shown != name:
        sentence = "its name is not valid UTF-8"
        return Entry(name=shown, size=status.st_size, refused=(Reason.FILE_UNREADABLE, sentence))
    return Entry(name=name, size=status.st_size, stamp=str(status.st_mtime_ns))


def _shown(name: str) -> str:
    """Return the name as every table can keep it: bytes that are no UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for check, name in kinds if check(mode)), "a device")
