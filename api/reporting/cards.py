"""One job as the page shows it: a headline, results in rows, times as bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from api.reporting.files import is_safe_name
from api.reporting.pictures import Album, Sprite
from api.reporting.rows import BoundModel, JobRow
from api.reporting.studies import folder_of
from records.listing import ArtifactRow, ResultRow

#: results of one job in the page; results.csv has all
MOST_RESULTS: Final = 60
_MOST_IN_HEADLINE: Final = 3
_STAGES: Final = ("read", "predict", "write", "record")


@dataclass(frozen=True, kw_only=True)
class ResultLine:
    """One result in the table of a job."""

    kind: str
    step: str
    label: str
    code: str
    amount: str
    #: 0 to 1, None where the result has no score
    score: float | None
    where: str
    is_top: bool


@dataclass(frozen=True, kw_only=True)
class FileLink:
    """A file of a job, relative to the page; no ``href`` where its name cannot be one."""

    name: str
    href: str
    size: str


@dataclass(frozen=True, kw_only=True)
class SeriesLine:
    """A series that was considered for an input."""

    uid: str
    is_chosen: bool
    because: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything the page says about one job."""

    row: JobRow
    headline: str
    results: list[ResultLine]
    more_results: int
    sprites: list[Sprite]
    files: list[FileLink]
    series: list[SeriesLine]
    #: stage, seconds, share of the longest
    times: list[tuple[str, float, float]]
    warnings: list[str]
    #: steps that did not run on an input, and why
    skipped: list[tuple[str, str]]
    device: str

    @property
    def models(self) -> Sequence[BoundModel]:
        """The model versions of the job, by step."""
        return self.row.models

    @property
    def is_demonstration(self) -> bool:
        """Whether any of the models is a demonstration."""
        return any(model.is_demonstration for model in self.row.models)

    @property
    def has_marks(self) -> bool:
        """Whether a picture shows where something was found."""
        return any(tile.has_findings for sprite in self.sprites for tile in sprite.tiles)

    @property
    def has_amounts(self) -> bool:
        """Whether the table needs a column of values."""
        return any(line.amount for line in self.results)

    @property
    def has_scores(self) -> bool:
        """Whether the table needs a column of scores."""
        return any(line.score is not None for line in self.results)

    @property
    def has_places(self) -> bool:
        """Whether the table needs a column of places."""
        return any(line.where for line in self.results)


def card_of(job: JobRow, album: Album) -> Card:
    """Prepare one job for the page."""
    report = job.report
    return Card(
        row=job,
        headline=headline(job.results),
        results=[_line(row) for row in _sorted(job.results)[:MOST_RESULTS]],
        more_results=max(0, len(job.results) - MOST_RESULTS),
        sprites=album.sprites(job),
        files=[_link(job, artifact) for artifact in job.artifacts if not _is_index(artifact)],
        series=_series(job),
        times=_times(report),
        warnings=[str(warning) for warning in report.get("warnings") or ()],
        skipped=_skipped(report),
        device=str(report.get("device") or ""),
    )


def headline(results: Iterable[ResultRow]) -> str:
    """Say in a few words what was found: volumes, detections, likeliest labels, measurements."""
    detections: dict[str, list[float]] = defaultdict(list)
    classes: dict[tuple[str, str | None], ResultRow] = {}
    parts: list[str] = []
    measured: list[str] = []
    for row in results:
        if row.kind == "detection":
            detections[row.label].append(row.score or 0.0)
        elif row.kind == "classification":
            key = (row.step, row.series)
            best = classes.get(key)
            if best is None or (row.score or 0.0) > (best.score or 0.0):
                classes[key] = row
        elif row.value is not None:
            named = measured if row.kind == "measurement" else parts
            named.append(f"{row.label} {amount(row.value, row.unit)}")
    for label, scores in detections.items():
        parts.append(f"{len(scores)} \u00d7 {label}, best {score_text(max(scores))}")
    parts += [f"{row.label} {score_text(row.score or 0.0)}" for row in classes.values()]
    parts += measured
    if len(parts) > _MOST_IN_HEADLINE:
        left = len(parts) - _MOST_IN_HEADLINE
        return " · ".join([*parts[:_MOST_IN_HEADLINE], f"{left} more"])
    return " · ".join(parts)


def amount(value: float, unit: str | None) -> str:
    """Return a value with its unit, four digits: ``1,449 mL``."""
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{digits} {unit}".strip() if unit and unit != "1" else digits


def score_text(score: float) -> str:
    """Return a score in two digits that never claims certainty: 0.998 is not 1."""
    if 0.995 <= score < 1.0:
        return ">0.99"
    return "<0.01" if 0.0 < score < 0.005 else f"{score:.2f}"


def size_text(size: int) -> str:
    """Return bytes for people."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 2**10:.0f} KB" if size < 2**20 else f"{size / 2**20:.1f} MB"


def _sorted(results: Sequence[ResultRow]) -> list[ResultRow]:
    """Keep the order of steps; within a step the likeliest detections and classes come first."""
    steps = list(dict.fromkeys(row.step for row in results))
    return sorted(results, key=lambda row: (steps.index(row.step), -(row.score or 0.0)))


def _line(row: ResultRow) -> ResultLine:
    return ResultLine(
        kind=row.kind,
        step=row.step,
        label=row.label,
        code=row.code or "",
        amount="" if row.value is None else amount(row.value, row.unit),
        score=row.score,
        where=_where(row.payload),
        is_top=bool(row.payload.get("is_top")),
    )


def _where(payload: dict[str, Any]) -> str:
    """Return a centre in the patient as text, where there is one."""
    place = payload.get("centre_mm") or payload.get("centroid_mm")
    if not isinstance(place, list | tuple) or len(place) != 3:
        return ""
    return ", ".join(f"{float(value):.0f}" for value in place)


def _link(job: JobRow, artifact: ArtifactRow) -> FileLink:
    name = artifact.name if is_safe_name(artifact.name) else artifact.sha256
    return FileLink(
        name=artifact.name, href=f"{folder_of(job)}/{name}", size=size_text(artifact.size)
    )


def _is_index(artifact: ArtifactRow) -> bool:
    """Say whether a file only describes a picture; the page has read it already."""
    return artifact.kind == "overlay" and artifact.media_type == "application/json"


def _series(job: JobRow) -> list[SeriesLine]:
    lines = [
        SeriesLine(
            uid=str(one.get("series_instance_uid", "")),
            is_chosen=bool(one.get("chosen")),
            because=str(one.get("because", "")),
        )
        for one in job.considered()
    ]
    return sorted(lines, key=lambda line: not line.is_chosen)


def _times(report: dict[str, Any]) -> list[tuple[str, float, float]]:
    found = report.get("seconds") or {}
    known = [(stage, float(found[stage])) for stage in _STAGES if stage in found]
    longest = max((seconds for _, seconds in known), default=0.0) or 1.0
    return [(stage, seconds, seconds / longest) for stage, seconds in known]


def _skipped(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return every step that was skipped with its reason, each pair once."""
    found = (
        (str(step["step"]), str(one["because"]))
        for step in report.get("steps") or ()
        for one in step.get("skipped") or ()
    )
    return list(dict.fromkeys(found))
