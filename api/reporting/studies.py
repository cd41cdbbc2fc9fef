"""studies/<study>/<job>/: the files each job wrote, and job.json."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from api.reporting.files import is_safe_name, lend, replacing, uid_name
from api.reporting.rows import JobRow, jobs
from api.reporting.tables import plain
from records.listing import ArtifactRow


def write_studies(
    sessions: sessionmaker[Session], store: Path, batch_id: uuid.UUID, out: Path
) -> int:
    """Write the folder of every job of a batch; return how many artifacts the store has lost.

    Folders of the jobs of an earlier batch are removed: the tables beside them are replaced too.
    """
    missing, kept = 0, set()
    for job in jobs(sessions, batch_id):
        folder = out / folder_of(job)
        kept.add(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for artifact in job.artifacts:
            missing += not _lend(store, artifact, folder)
        with replacing(folder / "job.json") as file:
            json.dump(_document(job), file, indent=2, ensure_ascii=False)
            file.write("\n")
    _sweep(out, kept)
    return missing


def _sweep(out: Path, kept: set[Path]) -> None:
    """Remove what an earlier export left; a folder without our job.json is none of ours."""
    for report in list(out.glob("studies/*/*/job.json")):
        folder = report.parent
        if folder not in kept:
            shutil.rmtree(folder)
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()


def folder_of(job: JobRow) -> str:
    """Return the folder of a job, relative to the export; safe whatever the UID is."""
    return f"studies/{uid_name(job.study_instance_uid)}/{job.id}"


def blob_of(store: Path, artifact: ArtifactRow) -> Path:
    """Return where the store keeps an artifact."""
    return store / "blobs" / artifact.sha256[:2] / artifact.sha256


def _lend(store: Path, artifact: ArtifactRow, folder: Path) -> bool:
    blob = blob_of(store, artifact)
    name = artifact.name if is_safe_name(artifact.name) else artifact.sha256
    if not blob.is_file() or blob.stat().st_size != artifact.size:
        return False
    lend(blob, folder / name)
    return True


def _document(job: JobRow) -> dict[str, Any]:
    """Return job.json: what was asked, what was chosen and why, what happened, what came out."""
    return {
        "job": str(job.id),
        "study": job.study_instance_uid,
        "analysis": {"name": job.analysis, "version": job.analysis_version},
        "status": job.status.value,
        "reason": job.reason,
        "detail": job.detail,
        "attempts": job.attempt,
        "created": job.created_at.isoformat(),
        "started": None if job.started_at is None else job.started_at.isoformat(),
        "finished": None if job.finished_at is None else job.finished_at.isoformat(),
        "models": [
            {
                "step": model.step,
                "name": model.name,
                "version": model.version,
                "digest": model.digest,
                "demonstration": model.is_demonstration,
            }
            for model in job.models
        ],
        "artifacts": [
            {"name": a.name, "kind": a.kind, "sha256": a.sha256, "size": a.size}
            for a in job.artifacts
        ],
        "results": [plain(row) for row in job.results],
        "plan": job.plan,
        "report": job.report,
    }
