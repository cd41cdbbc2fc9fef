"""Prepared cases on disk, each under a name that says all that it comes of.

That is the content of its files, what the recipe says about reading and preparing them, and the
code that does so: what is found under a name needs no look at the sources. A training has a folder
of its own. Beside it there may be one that all trainings share; its entries are hard links, so one
that is removed there is taken from nobody who uses it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.models import networks
from pipeline.training.manifest import Case
from pipeline.training.recipe import Recipe
from pipeline.training.trimming import ENTRY, PREFIX

#: what of a recipe has nothing to do with how a case is prepared
_WITHOUT_BEARING: Final = frozenset(
    {
        "name",
        "version",
        "title",
        "network",
        "loss",
        "degradation",
        "optimiser",
        "epochs",
        "batch",
        "patches",
        "patches_by",
        "foreground",
        "augmentation",
        "early_stopping",
        "classes",
        "transfer",
        "pretraining",
        "semi_supervised",
        "adversarial",
        "generated",
        "budget",
        "validate_every",
        "split",
        "evaluation",
        "gate",
        "seed",
        "demonstration",
        "licence",
        "description",
    }
)
_LIBRARIES: Final = ("av", "monai", "nibabel", "numpy", "pillow", "pydicom", "scipy", "torch")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is noted of a prepared case beside its arrays."""

    #: of each image (``pixels``)
    pixels: tuple[str, ...]
    #: that are in it
    labels: tuple[str, ...] = ()
    #: what was mended, as column and sentence
    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The prepared cases of a training, and those that all of them share."""

    folder: Path
    shared: Path | None = None

    def place(self, name: str) -> Path:
        """Return where the training finds what is kept under a name."""
        return self.folder / name

    def find(self, name: str) -> Entry | None:
        """Return what is noted of a case, and see that the training has its arrays; None: not kept.

        What was not written to its end, or is not as long as it was, is not kept.
        """
        found = _entry(self.folder / name)
        if found is not None or self.shared is None:
            return found
        if _entry(self.shared / name) is None:
            return None
        with suppress(OSError):  # it may be removed at this very moment
            os.utime(self.shared / name / ENTRY)  # tells how long nobody has asked for it
            _mirror(self.shared / name, self.folder / name)
        return _entry(self.folder / name)

    def keep(self, name: str, arrays: Mapping[str, NDArray[Any]], entry: Entry) -> None:
        """Write a case; whoever reads meanwhile finds all of it or nothing."""
        with _written(self.folder / name) as aside:
            for title, array in arrays.items():
                np.save(aside / f"{title}.npy", array)
            sizes = {file.name: file.stat().st_size for file in aside.iterdir()}
            (aside / ENTRY).write_text(json.dumps({**asdict(entry), "sizes": sizes}))
        if self.shared is not None:
            with suppress(OSError):  # what is not shared is prepared again
                _mirror(self.folder / name, self.shared / name)


def name_of(case: Case, recipe: Recipe, kept: str) -> str:
    """Return the name that a case is kept under; ``kept`` says which of its arrays are."""
    stated = {key: one for key, one in recipe.stated().items() if key not in _WITHOUT_BEARING}
    # which series are there is kept for the networks that are told
    is_told = networks.takes_missing(recipe.network.name)
    # of objects a map is kept for this loss, for all others a mask
    takes_maps = recipe.loss == "mask-rcnn"
    come_of = [case.digest, dict(case.values), kept, stated, is_told, takes_maps, _code()]
    return hashlib.sha256(json.dumps(come_of, sort_keys=True).encode()).hexdigest()


def _entry(place: Path) -> Entry | None:
    try:
        stated = json.loads((place / ENTRY).read_text())
        if any((place / name).stat().st_size != size for name, size in stated["sizes"].items()):
            return None
        warnings = tuple((column, sentence) for column, sentence in stated["warnings"])
        pixels, labels = (tuple(stated[name]) for name in ("pixels", "labels"))
        return Entry(pixels=pixels, labels=labels, warnings=warnings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _mirror(source: Path, target: Path) -> None:
    """Make an entry found at another place too, by links where the file system has them."""
    with _written(target) as aside:
        for file in source.iterdir():
            try:
                os.link(file, aside / file.name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(file, aside / file.name)


@contextmanager
def _written(target: Path) -> Iterator[Path]:
    """Give a folder aside that lies at ``target`` once it is whole; what lay there gives way."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
    try:
        yield aside
        if target.exists() and _entry(target) is None:
            shutil.rmtree(target, ignore_errors=True)
        try:
            aside.rename(target)
        except OSError:
            if _entry(target) is None:
                raise
            # somebody else was quicker, and under one name all is the same
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@functools.cache
def _code() -> str:
    """Return the digest of all code that reads and prepares: of the pipeline and its libraries."""
    root = Path(__file__).parents[1]
    sources = (path.read_bytes() for path in sorted(root.rglob("*.py")))
    stated = [hashlib.sha256(source).hexdigest() for source in sources]
    stated += [f"{library} {_version(library)}" for library in _LIBRARIES]
    return hashlib.sha256("\n".join(stated).encode()).hexdigest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # what reads videos need not be installed
        return "not installed"
