"""How a training goes and what it reached, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.cli.printing import show, span


def progress_words(progress: Mapping[str, Any]) -> str:
    """Return where a training stands: ``epoch 3 of 25, loss 0.4853, score 0.71 (best 0.74)``.

    Within an epoch also the batch, and how fast it goes: ``41 cases/s, about 12 min 40 s left``.
    """
    if progress.get("epoch") is None or progress.get("phase") == "evaluating":
        cases = progress.get("cases")
        counted = f": {show(cases)} cases" if cases and progress.get("epoch") is None else ""
        return f"{progress.get('phase', 'waiting')}{counted}"
    words = f"epoch {progress['epoch']} of {progress.get('epochs', '?')}"
    if progress.get("batch"):
        words += f", batch {progress['batch']} of {progress['batches']}"
    if (loss := progress.get("loss")) is not None:
        words += f", loss {loss:.4g}"
    if (score := progress.get("score")) is not None:
        words += f", score {score:.4g}"
    if (best := progress.get("best_score")) is not None:
        words += f" (best {best:.4g})"
    if (rate := progress.get("cases_per_second")) is not None:
        words += f", {rate:.3g} cases/s"
    if (left := progress.get("seconds_left")) is not None:
        words += f", about {span(left)} left"
    return words


def share_done(progress: Mapping[str, Any]) -> float | None:
    """Return the share of all epochs that is done; None where none is known yet."""
    if progress.get("epoch") is None and not progress.get("batch"):
        return None
    epochs = progress.get("epochs")
    if not epochs:
        return None
    batch, batches = progress.get("batch") or 0, progress.get("batches") or 1
    return float((progress.get("epoch") or 0) + batch / batches) / float(epochs)


#: what needs a table to be read: it is on the card of the model, not in a line
_TABLES = frozenset(
    {"auc", "confusion", "empty_reference", "froc", "hit_iou", "labels", "surface_tolerance_mm"}
)
#: of what is measured label by label, what a line has room for
_BY_LABEL = ("dice", "sensitivity", "false_positives_per_scan", "average_precision")


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the metrics that are one number, with their interval where they have one.

    What is measured for each label (Dice, sensitivity ...) is told with the label's name.
    """
    labels = metrics.get("labels")
    by_label: Mapping[str, Any] = labels if isinstance(labels, Mapping) else {}
    told = []
    for name, value in metrics.items():
        if name in _TABLES:
            continue
        if isinstance(value, Mapping) and "value" not in value:
            told += [_words(f"{name} {part}", one) for part, one in value.items()]
        else:
            told.append(_words(name, value))
    for label, measured in by_label.items():
        told += [_words(f"{label} {name}", measured.get(name)) for name in _BY_LABEL]
    return ", ".join(filter(None, told))


def _words(name: str, value: object) -> str:
    """Return one metric in words, or nothing where it is not one number."""
    shown = name.replace("_", " ")
    if isinstance(value, Mapping) and isinstance(value.get("value"), int | float):
        return f"{shown} {value['value']:.3g}{_interval(value)}"
    return f"{shown} {value:.4g}" if isinstance(value, int | float) else ""


def _interval(metric: Mapping[str, Any]) -> str:
    """Return `` (0.6 to 0.8)`` where both ends are known."""
    low, high = metric.get("low"), metric.get("high")
    return "" if low is None or high is None else f" ({low:.3g} to {high:.3g})"
