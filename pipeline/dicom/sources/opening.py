"""Open the files of a source, wherever it is."""

from __future__ import annotations

from pathlib import Path

from pipeline.dicom.sources.folder import Folder
from pipeline.dicom.sources.source import Source


def open_source(address: str) -> Source:
    """Return the source at an address: a folder or one file.

    Nothing is read yet; that there is such a source is found out by ``entries`` or ``open``.
    """
    return Folder(Path(address))
