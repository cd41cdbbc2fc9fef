"""Sources of very many small files, and a scan of one as a process that can be killed.

``python -m tests.pipeline.dicom.many_files FOLDER [INDEX [KILL]]`` scans, prints what it took as
JSON, or ends itself by SIGKILL once ``KILL`` files are done.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from pydicom import dcmwrite

from pipeline.dicom.scan import scan
from tests.pipeline.dicom import made_series as series


def write(folder: Path, count: int, *, studies: int = 1) -> Path:
    """Write so many images, each alone at its place, in so many studies, 250 to a folder."""
    one = series.instance(0)
    one.StudyInstanceUID = "1.2.3.1000000"
    one.SeriesInstanceUID = "1.2.3.2000000"
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = "1.2.3.3000000"
    one.InstanceNumber = None
    folder.mkdir(parents=True, exist_ok=True)
    dcmwrite(folder / "first", one, enforce_file_format=True)
    data = (folder / "first").read_bytes()
    (folder / "first").unlink()
    for number in range(count):
        below = folder / f"{number // 250:03d}"
        if number % 250 == 0:
            below.mkdir()
        mine = data.replace(b"1.2.3.1000000", f"1.2.3.{1000000 + number % studies}".encode())
        mine = mine.replace(b"1.2.3.2000000", f"1.2.3.{2000000 + number % studies}".encode())
        mine = mine.replace(b"1.2.3.3000000", f"1.2.3.{3000000 + number}".encode())
        (below / f"{number:06d}").write_bytes(mine)
    return folder


def _resident() -> int:
    """Return how many bytes of memory this process holds now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _main(folder: str, index: str = "", kill: str = "") -> None:
    held: list[int] = []

    def tell(done: int) -> None:
        held.append(_resident())
        if kill and done >= int(kill):
            os.kill(os.getpid(), signal.SIGKILL)

    place = Path(index) if index else None
    with scan(folder, on_progress=tell, index=place, processes=2) as report:
        studies = 0
        for study in report.studies():
            studies += len(study.series)
            held.append(_resident())
        files = sum(1 for _ in report.files())
        held.append(_resident())
    json.dump({"files": files, "series": studies, "first": held[4], "most": max(held)}, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
