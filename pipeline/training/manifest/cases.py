"""The cases a training uses, and the digest that stands for all of them."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pipeline.training.faults import Fault
from pipeline.training.groups import Groups

#: bytes of a file that is not hashed again for the next case; what is smaller costs nothing
_LARGE: Final = 2**20
#: of a patient, beside the images: a number, a word, or None where it is not known
Value = float | str | None


class Part(enum.StrEnum):
    """What a case is used for.

    One patient is on one side: learnt from (training, unlabelled), chosen by (validation) or
    judged on (held-out).
    """

    TRAINING = "training"
    VALIDATION = "validation"
    HELD_OUT = "held-out"
    #: learnt from without a label, by recipes that can
    UNLABELLED = "unlabelled"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case that may be used: its images, what is true of it, whose it is, what it is for."""

    row: int
    image: Path
    #: a class name, several joined by ``|``, else the file or the folder that holds the label;
    #: "" where there is none
    label: str | Path
    patient_id: str
    part: Part
    #: of all images
    image_digest: str
    label_digest: str
    groups: Groups = ()
    #: further images of the case, in the order of the manifest; None = that one is missing
    beside: tuple[Path | None, ...] = ()
    #: by name, for networks that read a table beside the images
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def images(self) -> tuple[Path | None, ...]:
        """All images of the case in their order; of most cases one."""
        return self.image, *self.beside

    @property
    def digest(self) -> str:
        """sha256 that names the content of the case wherever it lies."""
        return hashlib.sha256(f"{self.image_digest} {self.label_digest}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The cases a training uses, in a fixed order, and the digest that stands for all of them."""

    cases: tuple[Case, ...]
    digest: str
    #: what is odd about the manifest, but no reason to refuse it
    warnings: tuple[Fault, ...] = ()

    def part(self, part: Part) -> tuple[Case, ...]:
        """Return the cases of one part."""
        return tuple(case for case in self.cases if case.part is part)

    def counts(self) -> dict[str, int]:
        """Return how many cases each part has; of unlabelled ones only where there are any."""
        counts = {part.value: len(self.part(part)) for part in Part}
        return {part: count for part, count in counts.items() if count or part != Part.UNLABELLED}


def snapshot_of(cases: Sequence[Case], warnings: Sequence[Fault] = ()) -> Snapshot:
    """Return cases in the order of snapshots, and the digest that stands for all of them."""
    ordered = sorted(cases, key=lambda case: (case.part, case.patient_id, case.digest))
    lines = sorted(json.dumps(_stated(case), sort_keys=True) for case in cases)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Snapshot(cases=tuple(ordered), digest=digest, warnings=tuple(sorted(warnings)))


def content_digest(paths: Sequence[Path | None]) -> str:
    """Return the sha256 of one file or folder, or of several in their order; None = missing."""
    digests = ["missing" if path is None else file_digest(path) for path in paths]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def changed(case: Case) -> Literal["image", "label"] | None:
    """Say what of a case is no longer what was hashed, or no longer there; None = nothing."""
    if not _is(case.images, case.image_digest):
        return "image"
    if isinstance(case.label, Path) and not _is([case.label], case.label_digest):
        return "label"
    return None


def is_there(path: Path) -> bool:
    """Say whether a name leads to a file or a folder, and not to a pipe or a device."""
    try:
        return path.is_file() or path.is_dir()
    except OSError:  # a name that is too long, or a folder that may not be entered
        return False


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, or of all files of a folder whatever their names."""
    if path.is_dir():
        inside = sorted(file_digest(file) for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("\n".join(inside).encode()).hexdigest()
    about = path.stat()
    if about.st_size < _LARGE:
        return _hashed(path)
    stamp = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return _hashed_once(path, stamp)


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache(maxsize=4)
def _hashed_once(path: Path, stamp: tuple[int, ...]) -> str:
    """Hash a file that may hold the labels of many cases, as COCO's does; ``stamp`` tells it."""
    del stamp
    return _hashed(path)


def _is(paths: Sequence[Path | None], digest: str) -> bool:
    try:
        return content_digest(paths) == digest
    except OSError:
        return False


def _stated(case: Case) -> list[object]:
    """Return what of a case is learnt from, judged by or reported."""
    stated: list[object] = [case.patient_id, case.image_digest, case.label_digest, case.part]
    stated += case.groups
    return [*stated, dict(case.values)] if case.values else stated
