"""The page that shows how good a model is: tables, curves, subgroups, the worst cases.

One HTML file, complete in itself: no script, no network, no time. The same scores give the same
page to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from pipeline.evaluation import curves, plots, summary
from pipeline.evaluation.curves import Points
from pipeline.evaluation.plots import Plot
from pipeline.evaluation.scores import Scores
from pipeline.evaluation.statistic import title_of

#: false positives per scan at the right end of a FROC curve
MOST_FALSE_POSITIVES: Final = 8.0


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands above everything."""

    title: str
    #: model and version, recipe and snapshot ...
    lines: Sequence[str]
    warnings: Sequence[str]


@dataclass(frozen=True)
class Cell:
    """One number and, small, how sure it is."""

    value: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under their columns; each row begins with its name."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def render(
    heading: Heading,
    scores: Scores,
    metrics: Mapping[str, Any],
    course: Mapping[str, Points] | None = None,
) -> str:
    """Return the page.

    Args:
        heading: whose page it is.
        scores: of the held-out cases.
        metrics: their summary, by ``summary.summarise``.
        course: curves of the training over its epochs, by name.

    """
    return template("page.html").render(
        heading=heading,
        scores=scores,
        metrics=metrics,
        tables=list(_tables(scores, metrics)),
        plots=list(_plots(scores)),
        courses=list(plots.courses(course or {})),
        side=plots.SIDE,
        margin=plots.MARGIN,
    )


def template(name: str) -> Template:
    """Return a template of this package; what is put into it is text, never markup."""
    environment = Environment(
        loader=PackageLoader("pipeline.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def words(metric: Mapping[str, Any]) -> Cell:
    """Return a statistic as it is told: its value, its interval, how many patients bear on it."""
    count = f"n {metric['patients']}"
    if metric.get("is_too_few"):
        return Cell("too few", count)
    if metric["value"] is None:
        return Cell("none", count)
    if metric["low"] is None:
        return Cell(f"{metric['value']:.3g}", count)
    return Cell(f"{metric['value']:.3g}", f"{metric['low']:.3g} to {metric['high']:.3g}, {count}")


def statistics_in(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what is a statistic in a summary, by its name."""
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, Mapping) and "patients" in value
    }


def _tables(scores: Scores, metrics: Mapping[str, Any]) -> Iterator[Table]:
    yield from _measured("All held-out cases", {"all": metrics})
    for attribute, groups in summary.by_subgroup(scores).items():
        yield from _measured(f"By {attribute}", groups)
    if "confusion" in metrics:
        yield _confusion(scores.labels, metrics["confusion"])
    if "reliability" in metrics:
        yield _reliability(metrics["reliability"])
    if metrics.get("froc"):
        yield _froc(metrics["froc"])
    yield _worst(scores)


def _measured(title: str, groups: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """Yield what is stated of each group as a whole, then what is stated of each label in it."""
    yield from _wide(title, {name: statistics_in(group) for name, group in groups.items()})
    by_label = {
        f"{name}, {label}" if len(groups) > 1 else label: statistics_in(measured)
        for name, group in groups.items()
        for label, measured in group.get("labels", {}).items()
    }
    yield from _wide(f"{title}, label by label", by_label)


def _wide(title: str, measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[Table]:
    names = list(dict.fromkeys(name for row in measured.values() for name in row))
    if not names:
        return
    rows = [
        (heading, [words(row[name]) if name in row else Cell("none") for name in names])
        for heading, row in measured.items()
    ]
    yield Table(title=title, columns=[title_of(name) for name in names], rows=rows)


def _confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    rows = [
        (f"is {label}", [Cell(str(count)) for count in row])
        for label, row in zip(labels, counts, strict=True)
    ]
    return Table(title="Confusion", columns=[f"called {label}" for label in labels], rows=rows)


def _reliability(bins: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            f"from {one['from']:.1f}",
            [Cell(str(one["cases"])), Cell(f"{one['score']:.3f}"), Cell(f"{one['accuracy']:.3f}")],
        )
        for one in bins
    ]
    columns = ["cases", "mean score of the answer", "share that is right"]
    return Table(title="Reliability", columns=columns, rows=rows)


def _froc(by_label: Mapping[str, Mapping[str, float] | None]) -> Table:
    known = {label: reached for label, reached in by_label.items() if reached is not None}
    rates = list(dict.fromkeys(rate for reached in known.values() for rate in reached))
    rows = [
        (label, [Cell(f"{reached[rate]:.3f}") for rate in rates])
        for label, reached in known.items()
    ]
    return Table(title="Sensitivity at false positives per scan", columns=rates, rows=rows)


def _worst(scores: Scores) -> Table:
    rows = [
        (scores.cases[place].image[:16], [Cell(f"{value:.3g}")])
        for place, value in summary.worst(scores)
    ]
    return Table(
        title="Worst cases, by the sha256 of the image",
        columns=[summary.WORST_BY[scores.kind]],
        rows=rows,
    )


def _plots(scores: Scores) -> Iterator[Plot]:
    """Yield the curves of the kind that there are points for."""
    for number, label in enumerate(scores.labels):
        if scores.kind in ("classification", "multi-label"):
            across, up = "1 - specificity", "sensitivity"
            points = curves.roc(scores, number)
            yield from plots.share(f"ROC of {label}", (across, up), points, 1.0, has_diagonal=True)
        if scores.kind == "detection":
            across, up = "false positives per scan", "sensitivity"
            points = curves.froc(scores, number)
            yield from plots.share(f"FROC of {label}", (across, up), points, MOST_FALSE_POSITIVES)
    if scores.kind == "classification":
        bins = [(one["score"], one["accuracy"]) for one in curves.reliability(scores)]
        names = ("score of the answer", "share that is right")
        yield from plots.share("Reliability", names, bins, 1.0, has_diagonal=True)
