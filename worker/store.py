"""The store: artifacts addressed by their digest, and the folders of registered bundles.

Layout: ``blobs/<first two>/<sha256>``, ``bundles/<digest>/``, ``prepared/<name>/``, ``temporary/``.
A blob is complete or absent: it is written under a temporary name, flushed to the disk and renamed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from pipeline.errors import NO_ROOM, ComputeFailed
from pipeline.reasons import Reason

#: the folder of prepared cases that trainings share (``pipeline.training.cache``)
PREPARED = "prepared"
#: the folder of running trainings, each by its id, and that of their event files
TRAININGS = "trainings"
TENSORBOARD = "tensorboard"


class DiskFull(ComputeFailed):
    """The disk of the store has no room. Another attempt may find some."""

    reason = Reason.RUN_DISK_FULL


class Store:
    """The folder of blobs and bundles. Any number of processes may write to it at once."""

    def __init__(self, root: Path, *, reserve_bytes: int) -> None:
        """Make the folders under ``root``; below ``reserve_bytes`` of free disk ``put`` refuses."""
        self.root = root
        self._reserve = reserve_bytes
        self._temporary = root / "temporary"
        for folder in (root, root / "blobs", root / "bundles", self._temporary):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where the blob of that digest is, or would be."""
        return self.root / "blobs" / sha256[:2] / sha256

    def bundle_path(self, digest: str) -> Path:
        """Return where the bundle of that digest is, or would be."""
        return self.root / "bundles" / digest

    def require_room(self, size: int = 0) -> None:
        """Return if ``size`` bytes fit and the reserve stays free.

        Raises:
            DiskFull: they do not.

        """
        free = shutil.disk_usage(self.root).free
        if free - size < self._reserve:
            raise DiskFull(
                f"the disk of the store has {free // 2**20} MiB left; "
                f"{self._reserve // 2**20} MiB are kept in reserve"
            )

    def put(self, content: bytes) -> str:
        """Store the content durably and return its SHA-256. The same content is stored once.

        Raises:
            DiskFull: no room.

        """
        digest = hashlib.sha256(content).hexdigest()
        target = self.path(digest)
        if target.exists():
            return digest
        self.require_room(len(content))
        temporary = self._temporary / uuid.uuid4().hex
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
            _flush_folder(target.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                raise DiskFull("the disk of the store is full") from error
            raise
        return digest

    def put_bundle(self, folder: Path, digest: str) -> Path:
        """Copy a bundle folder under its digest and return the copy. Once is enough.

        Raises:
            DiskFull: no room.

        """
        target = self.bundle_path(digest)
        if target.exists():
            return target
        files = [path for path in folder.rglob("*") if path.is_file()]
        self.require_room(sum(path.stat().st_size for path in files))
        with self.scratch() as scratch:
            copy = scratch / "bundle"
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
            return self.adopt_bundle(copy, digest)

    def adopt_bundle(self, folder: Path, digest: str) -> Path:
        """Move a bundle that was made in ``scratch`` under its digest and return where it is."""
        target = self.bundle_path(digest)
        if target.exists():
            return target
        try:
            for path in (*folder.rglob("*"), folder):
                _flush(path)
            folder.rename(target)
            _flush_folder(target.parent)
        except OSError:
            if not target.exists():
                raise
            # another process was first; its bytes are the same
        return target

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend an empty folder on the disk of the store. What is left in it is removed.

        Raises:
            DiskFull: the disk became full while the folder was lent.

        """
        folder = self._temporary / uuid.uuid4().hex
        folder.mkdir(mode=0o700)
        try:
            yield folder
        except OSError as error:
            if error.errno in NO_ROOM:
                raise DiskFull("the disk of the store is full") from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, *, older_than: timedelta) -> int:
        """Remove what killed writers left under temporary names. Returns how many."""
        count = 0
        for path in self._temporary.iterdir():
            try:
                age = time.time() - path.stat().st_mtime
            except FileNotFoundError:  # its writer has just renamed it
                continue
            if age < older_than.total_seconds():
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            count += 1
        return count


def _flush(path: Path) -> None:
    """Write a file or folder through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    """Make the names in a folder durable; some network file systems cannot and say EINVAL."""
    try:
        _flush(path)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
