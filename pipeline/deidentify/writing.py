"""New instances on their way to the disk, under names that say nothing."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Made:
    """One new instance in memory, but for pixels that are copied as they are written."""

    #: relative path of its file, from nothing but its new UIDs
    name: str
    header: bytes = field(repr=False)
    pixels: Iterable[bytes] = field(repr=False)
    #: what the identity map keeps of it
    originals: dict[str, Any] = field(repr=False)


def write(made: Made, path: Path) -> str:
    """Write an instance to a new file, down to the disk. Returns its sha256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in _chunks(made):
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _chunks(made: Made) -> Iterator[bytes]:
    yield made.header
    yield from made.pixels


def name_of(made: Dataset) -> str:
    """Return the relative path of an instance: digests of its UIDs."""
    study, series, instance = (
        hashlib.sha256(str(made[keyword].value).encode()).hexdigest()
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )
    return f"{study[:16]}/{series[:16]}/{instance[:32]}.dcm"


def encoded(made: Dataset, syntax: UID) -> bytes:
    """Return preamble, file meta information and all elements before the pixel data."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(made.SOPClassUID))
    meta.MediaStorageSOPInstanceUID = UID(str(made.SOPInstanceUID))
    meta.TransferSyntaxUID = syntax
    made.file_meta = meta
    buffer = io.BytesIO()
    try:
        dcmwrite(buffer, made, enforce_file_format=True)
    except Exception as error:  # noqa: BLE001
        # pydicom's writers raise whatever a value that should not be makes them raise
        sentence = f"its header cannot be written again ({type(error).__name__})"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER) from None
    return buffer.getvalue()
