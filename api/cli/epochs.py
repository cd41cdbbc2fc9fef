"""How a training goes and what it reached, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.cli.printing import show


def progress_words(progress: Mapping[str, Any]) -> str:
    """Return where a training stands: ``epoch 3 of 25, loss 0.4853, score 0.71 (best 0.74)``."""
    if progress.get("epoch") is None or progress.get("phase") == "evaluating":
        cases = progress.get("cases")
        counted = f": {show(cases)} cases" if cases and progress.get("epoch") is None else ""
        return f"{progress.get('phase', 'waiting')}{counted}"
    words = f"epoch {progress['epoch']} of {progress.get('epochs', '?')}"
    if (loss := progress.get("loss")) is not None:
        words += f", loss {loss:.4g}"
    if (score := progress.get("score")) is not None:
        words += f", score {score:.4g}"
    if (best := progress.get("best_score")) is not None:
        words += f" (best {best:.4g})"
    return words


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the metrics that are one number, with their interval where they have one."""
    told = []
    for name, value in metrics.items():
        if isinstance(value, Mapping) and isinstance(value.get("value"), int | float):
            told.append(f"{name} {value['value']:.3g}{_interval(value)}")
        elif isinstance(value, int | float):
            told.append(f"{name} {value:.4g}")
    return ", ".join(told)


def _interval(metric: Mapping[str, Any]) -> str:
    """Return `` (0.6 to 0.8)`` where both ends are known."""
    low, high = metric.get("low"), metric.get("high")
    return "" if low is None or high is None else f" ({low:.3g} to {high:.3g})"
