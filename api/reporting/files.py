"""Files that are whole or absent, and names that stay inside their folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

_UID: Final = re.compile(r"[0-9.]{1,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Yield a text file (UTF-8) that takes the place of ``path`` when the block ends well.

    Readers see the old file or the new one, never a half. Lone surrogates, which stand for bytes
    of file names that are no UTF-8, are spelled out.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def lend(blob: Path, target: Path) -> None:
    """Put a blob of the store at ``target``: a hard link where it can be one, else a copy.

    A link shares its bytes with the store, so both lose the permission to write.

    Raises:
        OSError: the blob is gone, or there is no room for a copy.

    """
    if target.exists() and target.samefile(blob):
        return
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        try:
            os.link(blob, temporary, follow_symlinks=False)
            mode = stat.S_IMODE(blob.stat().st_mode)
            temporary.chmod(mode & ~0o222)
        except OSError:
            if not blob.is_file():
                raise
            shutil.copyfile(blob, temporary)  # another disk, or links are not allowed
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def uid_name(uid: str) -> str:
    """Return a UID as a folder name; one with other characters is named by its digest."""
    if _UID.fullmatch(uid) and set(uid) != {"."}:
        return uid
    return "invalid-" + hashlib.sha256(uid.encode(errors="backslashreplace")).hexdigest()[:16]


def is_safe_name(name: str) -> bool:
    """Say whether ``name`` can be used as a file name as it is."""
    return _NAME.fullmatch(name) is not None
