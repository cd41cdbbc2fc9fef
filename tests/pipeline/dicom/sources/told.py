"""What scan and read say of a source, in a form that can be compared between sources.

Also a program: ``python -m tests.pipeline.dicom.sources.told ADDRESS`` prints it as JSON, for
sources that are reached by the environment that a process starts with.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.dicom.scan import scan
from pipeline.dicom.series.grouping import IndexedSeries
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Volume


def told(address: str) -> dict[str, Any]:
    """Return the verdicts of a source's files and series, and the voxels of those that are read."""
    with scan(address, on_progress=lambda _done: None, processes=2) as report:
        files = {file.path: file.verdict.value for file in report.files()}
        studies = {
            study.study_instance_uid: [_series(address, one) for one in study.series]
            for study in report.studies()
        }
    return {"files": files, "studies": studies}


def _series(address: str, series: IndexedSeries) -> dict[str, Any]:
    names = [header.path for header in series.instances]
    said: dict[str, Any] = {"verdict": series.verdict.value, "files": names, "kind": series.kind}
    if series.verdict is Reason.OK:
        files = SeriesFiles.of(address, series)
        said["read"] = _voxels(files, as_image=series.kind == "image")
    return said


def _voxels(files: SeriesFiles, *, as_image: bool) -> list[Any]:
    try:
        found = read(files, as_image=as_image)
    except StudyRejected as rejected:
        return [rejected.reason.value]
    array = found.stored if isinstance(found, Volume) else found.pixels
    affine = found.affine.tolist() if isinstance(found, Volume) else None
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return [list(array.shape), array.dtype.str, digest, affine]


if __name__ == "__main__":
    json.dump(told(sys.argv[1]), sys.stdout)
