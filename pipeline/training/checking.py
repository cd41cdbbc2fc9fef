"""A manifest looked through before anybody trains on it: every fault by row, and what is odd."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.training import manifest, preparing, tasks
from pipeline.training.cache import Cache
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import snapshot_of
from pipeline.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found. Faults refuse a training, warnings do not."""

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()
    #: of each part, whose files are all there
    cases: Mapping[str, int]
    #: of the snapshot that a training would use; None while there are faults
    digest: str | None = None

    def stated(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def check(
    path: Path, recipe: Recipe, *, shared: Path | None, on_case: Callable[[int, int], None]
) -> Report:
    """Read a manifest and every file that it names, as a training would.

    Args:
        path: of the manifest.
        recipe: that it is for.
        shared: where prepared cases are kept for all trainings (``cache``); None = they are not.
        on_case: told before each case how many were read, and of how many; what it raises ends
            the work.

    """
    try:
        looked = manifest.look(path, recipe)
    except ManifestInvalid as unreadable:
        return Report(faults=unreadable.faults, cases={})
    snapshot = snapshot_of(looked.cases)
    faults, warnings = set(looked.faults), set(looked.warnings)
    read = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(folder=Path(folder), shared=shared)
        made = tasks.preparation(recipe)
        try:
            prepared = preparing.prepare(
                snapshot,
                recipe,
                made,
                cache,
                checkpoint=lambda: on_case(next(read), len(snapshot.cases)),
            )
            warnings |= set(prepared.warnings)
        except ManifestInvalid as refused:
            # of cases that could not be taken in nobody knows what they would have taught
            faults |= {one for one in refused.faults if one.row or not looked.faults}
    return Report(
        faults=tuple(sorted(faults)),
        warnings=tuple(sorted(warnings)),
        cases=snapshot.counts(),
        digest=None if faults else snapshot.digest,
    )
