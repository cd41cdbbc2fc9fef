"""The one series of a folder."""

from __future__ import annotations

from pathlib import Path

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.dicom.scan import scan
from pipeline.volume import Volume


def only_series(folder: Path) -> Volume:
    """Read the volume with the most slices below a folder, as a worker reads it.

    Raises:
        LookupError: there is no volume.

    """
    with scan(folder, on_progress=_ignore) as scanned:
        found = [one for study in scanned.studies() for one in study.series if one.kind == "volume"]
        if not found:
            raise LookupError(f"{folder.name} holds no volume")
        series = max(found, key=lambda one: len(one.frames))
        files = SeriesFiles.of(str(folder), series)
        image = read(files, as_image=False)
    assert isinstance(image, Volume)
    return image


def _ignore(count: int) -> None:
    """Take a count of files that nobody waits for."""
