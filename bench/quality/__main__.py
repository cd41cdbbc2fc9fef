"""``make bench-quality``: train the project's recipes on public data, and hold them to figures.

    python -m bench.quality --data DATA [--only NAME]... [--small] [--page docs/quality.md]

Everything is trained from nothing, by the recipes in ``bench/quality/recipes``, on splits that no
patient and no near-duplicate is on both sides of. Ends non-zero where a figure is missed. With
``--only`` the page keeps the rows of what was not asked for, and says so.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import platform
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
_CORES: Final = os.cpu_count() or 1
_HEAD: Final = """\
Written by `make bench-quality` on {cores} cores ({machine}, torch {torch}), trained from nothing.
Intervals are 95 % bootstraps over held-out patients, or over groups of near-duplicates where a set
names no patients.
"""
_ABLATIONS: Final = """\
The two ways of each differ in one thing and are judged on the same cases; the gain has the interval
of a paired bootstrap over patients. Where it matters which few cases are learnt from, there are
several draws of them: figures are the means of the draws, the interval is that of the mean gain,
and the gain of each draw stands beside it.
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
    sides = [side for one in questions for draw in one.draws for side in draw]
    began = time.monotonic()
    outcomes = _outcomes([*wanted, *sides], partial(_train, asked=asked), asked.at_once)
    minutes = (time.monotonic() - began) / 60
    # what was kept from another time took its minutes there
    whole = f"All took {minutes:.0f} minutes, {asked.at_once} at once." if asked.fresh else None
    trained = [(task, outcomes[task.name]) for task in wanted if task.name in outcomes]
    compared = [
        _compare(one, outcomes)
        for one in questions
        if {side.name for draw in one.draws for side in draw} <= outcomes.keys()
    ]
    kept: list[str] = []
    if asked.page is not None and asked.page.exists() and asked.only:
        kept = table.of_names(asked.page.read_text(encoding="utf-8"), left_out)
    page = _page(
        whole,
        _table(table.TRAINED, [*table.trained(trained), *kept], [one.name for one in tasks]),
        _table(table.COMPARED, [*table.compared(compared), *kept], [one.name for one in ablations]),
    )
    page += _unasked(left_out if asked.only else (), {table.name_of(row) for row in kept})
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
    parser.add_argument("--at-once", type=int, default=min(_CORES, 4), help="trainings at once")
    parser.add_argument(
        "--threads", type=int, default=0, help="of each; 0 = its share of the cores"
    )
    return parser.parse_args()


def _planned(name: str, kind: type[_Plan]) -> list[_Plan]:
    """Return what the modules of this folder plan, in the order of their names."""
    found: list[_Plan] = []
    for module in sorted(one.name for one in pkgutil.iter_modules(bench.quality.__path__)):
        if module != "__main__":
            planned = getattr(import_module(f"bench.quality.{module}"), name, ())
            found += [one for one in planned if isinstance(one, kind)]
    return found


def _outcomes(
    tasks: Iterable[Task], train: Callable[[Task], Outcome], at_once: int
) -> dict[str, Outcome]:
    """Return what came of each task, by name. One that fails costs the others nothing but is told.

    Those that take longest begin first, so that none of them is left alone in the end.
    """
    each = sorted({task.name: task for task in tasks}.values(), key=lambda task: -task.minutes)
    outcomes = {}
    pool = ThreadPoolExecutor(at_once)
    try:
        for name, running in [(task.name, pool.submit(train, task)) for task in each]:
            try:
                outcomes[name] = running.result()
            except TrainingEnded as ended:
                sys.stderr.write(f"{ended}\n")
    finally:
        # when the bench is interrupted, those that have not begun never will
        pool.shutdown(cancel_futures=True)
    return outcomes


def _train(task: Task, *, asked: argparse.Namespace) -> Outcome:
    threads = asked.threads or max(1, _CORES // asked.at_once)
    return train(task, asked.data, asked.work, threads=threads)


def _compare(ablation: Ablation, outcomes: Mapping[str, Outcome]) -> Compared:
    """Ask the bootstrap whether the one way of an ablation is better than the other."""
    label, statistic = None, ablation.metric
    if statistic.startswith("labels."):
        label, statistic = statistic.removeprefix("labels.").rsplit(".", 1)
    question = Question(statistic=statistic, label=label)
    draws = [(outcomes[one.name], outcomes[other.name]) for one, other in ablation.draws]
    pairs = [comparison.pair(one.scores(), other.scores()) for one, other in draws]
    return Compared(
        ablation=ablation,
        found=comparison.compare_means(pairs, question),
        gains=[pair.compare(question).gain for pair in pairs],
        seconds=sum(side.seconds for draw in draws for side in draw),
    )


def _table(head: Sequence[str], rows: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the table of those rows that speak of ``names``, in that order."""
    of_them = [row for row in rows if table.name_of(row) in names]
    of_them.sort(key=lambda row: names.index(table.name_of(row)))
    return [*head, *of_them] if of_them else []


def _page(whole: str | None, trained: Sequence[str], compared: Sequence[str]) -> str:
    """Return the page; ``whole`` is what is said of all trainings together."""
    machine = {"cores": _CORES, "machine": platform.machine(), "torch": version("torch")}
    lines = [
        "# What the recipes reach\n",
        _HEAD.format(**machine),
        *([] if whole is None else [f"{whole}\n"]),
        *trained,
    ]
    if compared:
        lines += ["\n## Ablations\n", _ABLATIONS, *compared]
    return "\n".join(lines) + "\n"


def _unasked(names: Sequence[str], kept: Collection[str]) -> str:
    """Say what was not trained now, as only a part was asked for, and what is ``kept`` of it."""
    parts = {
        "From earlier runs": sorted(kept),
        "Not asked for": sorted(set(names) - set(kept)),
    }
    said = [f"{words}: {'; '.join(found)}." for words, found in parts.items() if found]
    return f"\n{' '.join(said)}\n" if said else ""


if __name__ == "__main__":
    sys.exit(main())
