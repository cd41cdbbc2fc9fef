"""A DICOMDIR: the files that the table of contents of a medium refers to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.archive import outside, text_of
from pipeline.dicom.sources.dicomdir_records import file_names
from pipeline.dicom.sources.folder import Folder, RegularFile
from pipeline.dicom.sources.source import Entry
from pipeline.dicom.sources.walking import Tree, entry_of, names_in
from pipeline.reasons import Reason

#: A medium of a million files has less.
_LARGEST: Final = 2**29


class DicomDirectory:
    """What a DICOMDIR refers to, below its folder; other files there are not looked at.

    Media write names in capitals and are copied to disks that tell capitals from small letters,
    so names are matched without regard to case; where several match, the one as written counts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = Folder(path.parent)

    def entries(self) -> Iterator[Entry]:
        """Yield every file referred to, as ``Source.entries`` says, in the order of the records."""
        try:
            with RegularFile(self._path) as file:
                if file.size > _LARGEST:
                    sentence = f"the DICOMDIR has more than {_LARGEST} bytes"
                    raise SourceRefused(sentence, Reason.SOURCE_TOO_LARGE)
                data = file.read_at(0, file.size)
            names = _Names(Tree(self._path.parent))
        except FileRefused as refused:
            raise SourceRefused(refused.sentence, Reason.SOURCE_UNREADABLE) from None
        except OSError as error:
            sentence = f"the folder of the DICOMDIR cannot be read: {os.strerror(error.errno or 0)}"
            raise SourceRefused(sentence, Reason.SOURCE_UNREADABLE) from None
        seen: set[int] = set()
        for parts in file_names(data):
            entry = names.entry(parts)
            if hash(entry.name) not in seen:
                seen.add(hash(entry.name))
                yield entry

    def open(self, name: str) -> RegularFile:
        """Open a file below the folder; links, also on the way, are refused."""
        return self._folder.open(name)


class _Names:
    """Finds what stands on the disk for the names of a medium. Remembers one folder."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._asked: tuple[bytes, ...] = ()
        self._found = ""
        self._listing: dict[str, str] = {}

    def entry(self, parts: tuple[bytes, ...]) -> Entry:
        written = text_of(b"/".join(parts))
        raw = b"/".join(parts)
        refused = outside(raw) or (_UNNAMED if any(p in (b"", b".") for p in parts) else None)
        if refused is not None:
            return Entry(name=written, size=0, refused=refused)
        try:
            folder = self._folder(parts[:-1])
            last = None if folder is None else _match(self._listing, text_of(parts[-1]))
            if folder is None or last is None:
                return Entry(name=written, size=0, refused=_MISSING)
            held = self._tree.folder(folder)
            return entry_of(held.number, last, f"{folder}/{last}" if folder else last)
        except OSError as error:
            sentence = f"its folder cannot be read: {os.strerror(error.errno or 0)}"
            return Entry(name=written, size=0, refused=(Reason.FILE_UNREADABLE, sentence))

    def _folder(self, parts: tuple[bytes, ...]) -> str | None:
        """Return the folder on the disk and list it, None where there is none."""
        if parts == self._asked and self._listing:
            return self._found
        self._asked = (b"",)
        self._listing, found = self._list(""), ""
        for part in parts:
            name = _match(self._listing, text_of(part))
            if name is None:
                self._listing = {}
                return None
            found = f"{found}/{name}" if found else name
            self._listing = self._list(found)
        self._asked, self._found = parts, found
        return found

    def _list(self, folder: str) -> dict[str, str]:
        """Return the names in a folder, each by itself and without regard to case."""
        held = self._tree.folder(folder)
        names = sorted(names_in(held.number), reverse=True)
        return {name.casefold(): name for name in names} | {name: name for name in names}


def _match(listing: dict[str, str], written: str) -> str | None:
    """Return the name on the disk; ``;1`` and a last dot are leavings of ISO 9660 (6.8, 7.5)."""
    forms = (written, written.casefold(), f"{written.casefold()};1", f"{written.casefold()}.;1")
    return next((listing[form] for form in forms if form in listing), None)


_MISSING: Final = Reason.FILE_MISSING, "the DICOMDIR refers to it, but it is not there"
_UNNAMED: Final = Reason.FILE_OUTSIDE, "its name points outside of the medium"
