"""A folder tree, or one file, on a disk of this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.source import Entry
from pipeline.dicom.sources.walking import Tree, stamp_of, walk
from pipeline.reasons import Reason

# O_NOFOLLOW and O_NONBLOCK: the walk saw a regular file, which may since have been replaced by a
# link or by a FIFO that would block for ever.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """The files below a folder; of a single file, that file. Links are not followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tree: Tree | None = None

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, as ``Source.entries`` says."""
        try:
            status = self._path.stat()
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(self._path):
                    pass
        except (FileNotFoundError, NotADirectoryError):
            raise SourceRefused("the source does not exist", Reason.SOURCE_MISSING) from None
        except (OSError, ValueError) as error:
            sentence = f"the source cannot be read: {_cause(error)}"
            raise SourceRefused(sentence, Reason.SOURCE_UNREADABLE) from None
        if stat.S_ISDIR(status.st_mode):
            yield from walk(Tree(self._path))
        elif stat.S_ISREG(status.st_mode):
            yield Entry(name=self._path.name, size=status.st_size, stamp=stamp_of(status))
        else:
            sentence = "the source is neither a folder nor a regular file"
            raise SourceRefused(sentence, Reason.SOURCE_UNREADABLE)

    def open(self, name: str) -> RegularFile:
        """Open a regular file below the folder; links, also on the way, are refused."""
        if self._tree is None:
            try:
                self._tree = Tree(self._path if self._path.is_dir() else self._path.parent)
            except OSError as error:
                raise FileRefused(unreadable(error), Reason.FILE_UNREADABLE) from None
        folder, _, last = name.rpartition("/")
        if not last or last in (".", ".."):
            raise FileRefused("its name points outside of the source", Reason.FILE_OUTSIDE)
        try:
            held = self._tree.folder(folder)
            return RegularFile(last, folder=held.number)
        except (OSError, ValueError) as error:
            raise FileRefused(unreadable(error), Reason.FILE_UNREADABLE) from None


class RegularFile:
    """A regular file, open; links and anything else are refused, without blocking."""

    def __init__(self, path: str | Path, *, folder: int | None = None) -> None:
        """Open a file; a relative path counts from ``folder``, the descriptor of one."""
        try:
            self._descriptor = os.open(path, _FILE, dir_fd=folder)
        except (OSError, ValueError) as error:
            raise FileRefused(unreadable(error), Reason.FILE_UNREADABLE) from None
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise FileRefused("it is not a regular file", Reason.FILE_NOT_REGULAR)
        self._status = status
        self.size: int = status.st_size

    @property
    def modified(self) -> int:
        """When its content last changed, in ns since the epoch."""
        return self._status.st_mtime_ns

    @property
    def stamp(self) -> str:
        """As that of its ``Entry``."""
        return stamp_of(self._status)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes, as ``OpenFile.read_at`` says."""
        try:
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length and (more := self._more(offset, length, len(data))):
                data += more
        except OSError as error:
            raise FileRefused(unreadable(error), Reason.FILE_UNREADABLE) from None
        return data

    def _more(self, offset: int, length: int, done: int) -> bytes:
        """Return what follows where the kernel gave less than was asked for."""
        if offset + done >= self.size:
            return b""
        return os.pread(self._descriptor, length - done, offset + done)

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view``, as ``OpenFile.read_into`` says."""
        done = 0
        try:
            while done < len(view):
                count = os.preadv(self._descriptor, [view[done:]], offset + done)
                if count == 0:
                    break
                done += count
        except OSError as error:
            raise FileRefused(unreadable(error), Reason.FILE_UNREADABLE) from None
        return done

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def unreadable(error: OSError | ValueError) -> str:
    """Say in a sentence, without the path, why a file cannot be read."""
    return f"it cannot be read: {_cause(error)}"


def _cause(error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else "input/output error"
