"""``make bench-quality``: train the project's recipes on public data, and hold them to figures.

    python -m bench.quality --data DATA [--only NAME]... [--small] [--page docs/quality.md]

Everything is trained from nothing, by the recipes in ``bench/quality/recipes``, on splits that no
patient and no near-duplicate is on both sides of. Ends non-zero where a figure is missed.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

import bench.quality
from bench.quality import table
from bench.quality.plan import Ablation, Task
from bench.quality.table import Compared
from bench.quality.training import Outcome, TrainingEnded, train
from pipeline.evaluation import comparison
from pipeline.evaluation.comparison import Question

_Plan = TypeVar("_Plan", Task, Ablation)
_Made = TypeVar("_Made")
_HEAD: Final = """\
Written by `make bench-quality` on {cores} cores ({machine}, torch {torch}), trained from nothing.
Intervals are 95 % bootstraps over held-out patients, or over groups of near-duplicates where a set
names no patients.
"""
_ABLATIONS: Final = """\
Each pair differs in one thing and is judged on the same cases; the gain has the interval of a
paired bootstrap.
"""


def main() -> int:
    """Train, compare, write the page. Returns 1 where a figure was missed or a training failed."""
    asked = _arguments()
    if asked.fresh:
        shutil.rmtree(asked.work, ignore_errors=True)
    tasks, ablations = _planned("TASKS", Task), _planned("ABLATIONS", Ablation)
    unknown = set(asked.only) - {one.name for one in (*tasks, *ablations)}
    if unknown:
        sys.stderr.write(f"no task or ablation is named {', '.join(sorted(unknown))}\n")
        return 2
    wanted = [
        task
        for task in tasks
        if (task.name in asked.only if asked.only else task.is_small == asked.small)
    ]
    questions = [
        one for one in ablations if (one.name in asked.only if asked.only else not asked.small)
    ]
    left_out = [one.name for one in (*tasks, *ablations) if one not in (*wanted, *questions)]
    trained = _each(wanted, lambda task: (task, _train(task, asked)))
    compared = _each(questions, lambda one: _compare(one, asked))
    page = _page(trained, compared) + _unasked(left_out if asked.only else ())
    sys.stdout.write(page)
    if asked.page is not None:
        asked.page.write_text(page, encoding="utf-8")
    is_whole = len(trained) == len(wanted) and len(compared) == len(questions)
    is_met = all(
        table.is_met(must, outcome.metrics) for task, outcome in trained for must in task.musts
    )
    return 0 if is_whole and is_met and all(one.is_met for one in compared) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("build/quality"))
    parser.add_argument("--only", action="append", default=[], help="a task or an ablation")
    parser.add_argument("--small", action="store_true", help="what takes a minute, and no more")
    parser.add_argument("--fresh", action="store_true", help="train again what was trained here")
    parser.add_argument("--page", type=Path, help="where the tables go")
    parser.add_argument("--threads", type=int, default=0, help="0 = all cores")
    return parser.parse_args()


def _planned(name: str, kind: type[_Plan]) -> list[_Plan]:
    """Return what the modules of this folder plan, in the order of their names."""
    found: list[_Plan] = []
    for module in sorted(one.name for one in pkgutil.iter_modules(bench.quality.__path__)):
        if module != "__main__":
            planned = getattr(import_module(f"bench.quality.{module}"), name, ())
            found += [one for one in planned if isinstance(one, kind)]
    return found


def _each(plans: Sequence[_Plan], make: Callable[[_Plan], _Made]) -> list[_Made]:
    """Return what came of each plan. One that fails costs the others nothing but is told."""
    made = []
    for plan in plans:
        try:
            made.append(make(plan))
        except TrainingEnded as ended:
            sys.stderr.write(f"{ended}\n")
    return made


def _train(task: Task, asked: argparse.Namespace) -> Outcome:
    return train(task, asked.data, asked.work, threads=asked.threads)


def _compare(ablation: Ablation, asked: argparse.Namespace) -> Compared:
    """Train both sides of an ablation and ask the bootstrap."""
    sides = [_train(side, asked) for side in (ablation.task, ablation.without)]
    label, statistic = None, ablation.metric
    if statistic.startswith("labels."):
        label, statistic = statistic.removeprefix("labels.").rsplit(".", 1)
    question = Question(statistic=statistic, label=label)
    found = comparison.compare(*(side.scores() for side in sides), question)
    return Compared(ablation=ablation, found=found, seconds=sum(side.seconds for side in sides))


def _page(trained: Sequence[tuple[Task, Outcome]], compared: Sequence[Compared]) -> str:
    lines = [
        "# What the recipes reach\n",
        _HEAD.format(cores=os.cpu_count(), machine=platform.machine(), torch=version("torch")),
        *table.trained(trained),
    ]
    if compared:
        lines += ["\n## Ablations\n", _ABLATIONS, *table.compared(compared)]
    return "\n".join(lines) + "\n"


def _unasked(names: Sequence[str]) -> str:
    """Say what the page does not speak of, because only a part was asked for."""
    return f"\nNot asked for: {', '.join(sorted(names))}.\n" if names else ""


if __name__ == "__main__":
    sys.exit(main())
