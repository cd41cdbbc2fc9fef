"""What the quality bench found, as the page ``docs/quality.md``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.quality.plan import Ablation, Must, Task
from bench.quality.training import Outcome
from pipeline.evaluation.comparison import Comparison, Decision

TRAINED: Final = (
    "| task | figure | reached | 95 % interval | must | held-out patients | minutes |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)
COMPARED: Final = (
    "| ablation | figure | with | without | gain, 95 % interval | of each | says | minutes |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The trainings of an ablation and what the bootstrap says of them."""

    ablation: Ablation
    found: Comparison
    #: of each draw
    gains: Sequence[float | None]
    seconds: float

    @property
    def is_met(self) -> bool:
        """Whether the first is better than the second, where it must be."""
        return self.found.decision is Decision.BETTER or not self.ablation.is_must


def figure(metrics: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """Return value and interval of a statistic, ``labels.anterior.dice``.

    What is stated as a bare number, ``without_model.psnr_db``, has no interval.

    Raises:
        KeyError: the evaluation states no such statistic.

    """
    found: Any = metrics
    for name in place.split("."):
        found = found[name]
    if isinstance(found, float):
        return {"value": found, "low": None, "high": None, "patients": metrics["patients"]}
    return dict(found)


def is_met(must: Must, metrics: Mapping[str, Any]) -> bool:
    """Whether a figure was reached."""
    value = figure(metrics, must.metric)["value"]
    return value is not None and value >= must.least


def trained(rows: Sequence[tuple[Task, Outcome]]) -> Iterator[str]:
    """Yield the rows of what was trained."""
    for task, outcome in rows:
        musts = {must.metric: must for must in task.musts}
        for place in [*musts, *task.shown]:
            found = figure(outcome.metrics, place)
            must = musts.get(place)
            wanted = "" if must is None else f"{must.least:g}"
            missed = must is not None and not is_met(must, outcome.metrics)
            yield _row(
                task.name,
                place.removeprefix("labels.").replace(".", " "),
                f"{_number(found['value'])}{' **missed**' if missed else ''}",
                _between(found["low"], found["high"]),
                wanted,
                str(found["patients"]),
                f"{outcome.seconds / 60:.1f}",
            )


def compared(rows: Sequence[Compared]) -> Iterator[str]:
    """Yield the rows of the ablations."""
    for row in rows:
        found = row.found
        span = found.interval
        interval = "" if span is None else f", {_between(span.low, span.high)}"
        yield _row(
            row.ablation.name,
            row.ablation.metric,
            _number(found.candidate),
            _number(found.active),
            f"{_number(found.gain)}{interval}",
            ", ".join(map(_number, row.gains)) if len(row.gains) > 1 else "",
            f"{found.decision}{'' if row.is_met else ' **missed**'}",
            f"{row.seconds / 60:.1f}",
        )


def of_names(page: str, names: Collection[str]) -> list[str]:
    """Return the rows of an earlier page that speak of these tasks or ablations."""
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    return [row for row in rows if name_of(row) in names]


def name_of(row: str) -> str:
    """Return of which task or ablation a row speaks."""
    return row.removeprefix("| ").split(" |", 1)[0]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{_number(low)} to {_number(high)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
