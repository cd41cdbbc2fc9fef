"""What the quality bench trains and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: writes a manifest (and the images it names) into a folder, from the folder of the public data
MakeManifest = Callable[[Path, Path], Path]


@dataclass(frozen=True, kw_only=True)
class Must:
    """A figure on the held-out part that has to be reached."""

    #: place in the summary of an evaluation, ``labels.anterior.dice``
    metric: str
    least: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training on one set of public data."""

    name: str
    #: a recipe in ``bench/quality/recipes``
    recipe: str
    manifest: MakeManifest
    #: the folder below ``labelled`` that has to be there
    needs: str
    #: about, on one core: those that take long begin first
    minutes: int = 1
    musts: Sequence[Must] = ()
    #: more figures worth a place in the table
    shown: Sequence[str] = ()
    #: a minute's work, for those who change code; the whole bench leaves it out
    is_small: bool = False


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Two ways to train that differ in one thing: the first must be better than the second.

    Better is what the paired bootstrap over patients says (``pipeline.evaluation.comparison``).
    Where few cases are learnt from, it matters which: then there are several draws of them, both
    ways are gone with each, and the mean of the draws is compared.
    """

    name: str
    #: (with, without) for each draw of what is learnt from; all are judged on the same cases
    draws: Sequence[tuple[Task, Task]]
    metric: str
    #: whether the bench fails where the first is not better; else what comes out is told
    is_must: bool = True
