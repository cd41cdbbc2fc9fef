"""Walk a folder: every entry once, in one order, without following a link."""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from pipeline.dicom.sources.source import Entry
from pipeline.reasons import Reason

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Tree:
    """A folder and those below it, reached one by one so that no link is followed on the way.

    A path could be checked and then go through a link that took the place of a folder. Here
    every step opens a folder itself, by its name in the one before. The last one stays open:
    files come folder by folder. Safe for several threads.
    """

    def __init__(self, root: Path) -> None:
        """Open the root, which may itself be named through a link.

        Raises:
            OSError: it cannot be opened.

        """
        self._root = Descriptor(os.open(root, _FOLDER))
        #: replaced as one, so that each thread sees a name and its own folder
        self._last = "", self._root

    def folder(self, name: str) -> Descriptor:
        """Return the descriptor of a folder by its name below the root, ``""`` for the root.

        Raises:
            OSError: it is not there, cannot be opened, or is reached through a link.
            ValueError: the name has a part that is none.

        """
        if not name:
            return self._root
        last, held = self._last
        if last != name:
            held = self._opened(name)
            self._last = name, held
        return held

    def _opened(self, name: str) -> Descriptor:
        held = self._root
        for part in name.split("/"):
            if part in ("", ".", ".."):
                raise ValueError("a part of the name is none")
            held = Descriptor(os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=held.number))
        return held


class Descriptor:
    """The number of an open folder, which is closed with the last who holds it."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number)


def walk(tree: Tree) -> Iterator[Entry]:
    """Yield the entries below a folder, sorted by path, parents before what is in them.

    Links, FIFOs, sockets and devices are named and not opened; a folder that cannot be listed
    is named like a file. Only the names of one folder, and those of the folders that wait, are
    held in memory at a time.
    """
    pending: list[str] = [""]
    while pending:
        folder = pending.pop()
        folders: list[str] = []
        try:
            held = tree.folder(folder)
            for name, is_folder in _listed(held.number):
                path = f"{folder}/{name}" if folder else name
                if is_folder:
                    folders.append(path)
                else:
                    yield entry_of(held.number, name, path)
        except OSError as error:
            sentence = f"the folder cannot be listed: {os.strerror(error.errno or 0)}"
            yield Entry(name=shown(folder), size=0, refused=(Reason.FILE_UNREADABLE, sentence))
        pending.extend(reversed(folders))


def _listed(descriptor: int) -> Iterator[tuple[str, bool]]:
    """Yield (name, is it a folder) of what lies in a folder, sorted by the bytes of the name."""
    with os.scandir(descriptor) as listing:
        names = sorted((os.fsencode(e.name), e.is_dir(follow_symlinks=False)) for e in listing)
    return ((os.fsdecode(name), is_folder) for name, is_folder in names)


def names_in(descriptor: int) -> list[str]:
    """Return the names of all that lies in a folder."""
    with os.scandir(descriptor) as listing:
        return [entry.name for entry in listing]


def entry_of(descriptor: int, name: str, path: str) -> Entry:
    """Return what lies in an open folder under ``name``; ``path`` is its name in the source."""
    safe = shown(path)
    try:
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError as error:
        sentence = f"it cannot be read: {os.strerror(error.errno or 0)}"
        return Entry(name=safe, size=0, refused=(Reason.FILE_UNREADABLE, sentence))
    if not stat.S_ISREG(status.st_mode):
        sentence = f"{kind_of(status.st_mode)} is not opened"
        return Entry(name=safe, size=0, refused=(Reason.FILE_NOT_REGULAR, sentence))
    if safe != path:
        sentence = "its name is not valid UTF-8"
        return Entry(name=safe, size=status.st_size, refused=(Reason.FILE_UNREADABLE, sentence))
    return Entry(name=path, size=status.st_size, stamp=stamp_of(status))


def stamp_of(status: os.stat_result) -> str:
    """Return what changes with the content, also where times are set back or names exchanged."""
    return f"{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_ino}"


def changed_at(stamp: str) -> int | None:
    """Return when a file last changed, in ns since the epoch; None: no stamp of ``stamp_of``."""
    numbers = stamp.split(".")
    if len(numbers) != 3 or not all(number.removeprefix("-").isdecimal() for number in numbers):
        return None
    modified, changed, _ = map(int, numbers)
    return max(modified, changed)


def shown(name: str) -> str:
    """Return the name as every table can keep it: bytes that are no UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def kind_of(mode: int) -> str:
    """Say what an entry is that is no regular file."""
    kinds = (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISDIR, "a folder"),
    )
    return next((name for check, name in kinds if check(mode)), "a device")
