"""Every case of a snapshot, read, checked and kept as arrays, several at the same time.

What comes of a case depends on nothing but the case and the recipe, so neither the number of cores
nor the order in which cases are ready changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.training import pixels, together, truths
from pipeline.training.cache import Cache, Entry, name_of
from pipeline.training.data import Arrays, Preparation, Prepared, read_case, read_truth
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import Case, Part, Snapshot, changed
from pipeline.training.reading import LabelRefused
from pipeline.training.recipe import Recipe

_CHANGED: Final = "it was changed after it was hashed"
#: which arrays of a case are kept, by its part; of one that is judged on none
_KEPT: Final[Mapping[Part, str]] = {
    Part.TRAINING: "all",
    Part.VALIDATION: "all",
    Part.UNLABELLED: "image",
    Part.HELD_OUT: "",
}
#: cases in memory at the same time, each with its image several times over
_MOST_AT_ONCE: Final = 4


def prepare(
    snapshot: Snapshot,
    recipe: Recipe,
    preparation: Preparation,
    cache: Cache | Path,
    *,
    checkpoint: Callable[[], None],
) -> Prepared:
    """Read and check every case, held-out ones too, and keep what is trained on as arrays.

    A case that was prepared before, from the same content in the same way, is not read again. As
    many cases are read at once as the calling thread may use cores, ``_MOST_AT_ONCE`` at most.

    Raises:
        ManifestInvalid: with every case that cannot be read, whose label does not fit, or that
            shows what another one shows.
        Interrupted: by ``checkpoint``, called before each case is waited for.

    """
    cache = Cache(folder=cache) if isinstance(cache, Path) else cache
    preparer = _Preparer(recipe, preparation, cache)
    faults: list[Fault] = []
    kept: dict[Part, list[Path]] = {part: [] for part in Part}
    entries: list[tuple[Case, Entry]] = []
    for case, found in _in_order(preparer, snapshot.cases, checkpoint):
        kept[case.part].append(preparer.place(case))
        if isinstance(found, Fault):
            faults.append(found)
        else:
            entries.append((case, found))
    faults += together.repeated(entries)
    faults += () if faults else together.untaught(entries, recipe)
    if faults:
        raise ManifestInvalid(faults)
    return Prepared(
        training=tuple(kept[Part.TRAINING]),
        validation=tuple(kept[Part.VALIDATION]),
        unlabelled=tuple(kept[Part.UNLABELLED]),
        warnings=tuple(together.warnings(entries, recipe)),
    )


def _in_order(
    preparer: _Preparer, cases: Sequence[Case], checkpoint: Callable[[], None]
) -> Iterator[tuple[Case, Entry | Fault]]:
    """Yield what came of each case, in the order of the cases."""
    at_once = min(torch.get_num_threads(), _MOST_AT_ONCE)
    with ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        asked = [threads.submit(preparer, case) for case in cases]
        try:
            for case, answer in zip(cases, asked, strict=True):
                checkpoint()
                yield case, answer.result()
        finally:
            threads.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Preparer:
    """Prepares one case, and keeps it; called from several threads."""

    recipe: Recipe
    preparation: Preparation
    cache: Cache

    def place(self, case: Case) -> Path:
        """Return where a case is kept."""
        return self.cache.place(self._name(case))

    def __call__(self, case: Case) -> Entry | Fault:
        """Return what is noted of a case, or why it cannot be trained with."""
        name = self._name(case)
        entry = self.cache.find(name)
        if entry is not None:
            return entry
        try:
            arrays, entry = self._read(case)
        except StudyRejected as refused:
            return Fault(case.row, "image", refused.sentence)
        except LabelRefused as refused:
            return Fault(case.row, "label", str(refused))
        self.cache.keep(name, arrays, entry)
        return entry

    def _name(self, case: Case) -> str:
        return name_of(case, self.recipe, _KEPT[case.part])

    def _read(self, case: Case) -> tuple[Arrays, Entry]:
        recipe = self.recipe
        image = read_case(case, recipe)
        is_labelled = case.part is not Part.UNLABELLED
        truth = read_truth(case, recipe, image) if is_labelled else truths.nothing(recipe, image)
        arrays = self.preparation(image, truth)
        change = changed(case)
        if change == "image":
            raise StudyRejected(_CHANGED, Reason.FILE_CHANGED)
        if change == "label":
            raise LabelRefused(_CHANGED)
        kept = _KEPT[case.part]
        entry = Entry(
            pixels=pixels.digests(image),
            labels=truths.labels_in(truth, recipe) if is_labelled else (),
            warnings=tuple(("label", note) for note in truth.notes),
        )
        return {name: arrays[name] for name in arrays if kept in ("all", name)}, entry
