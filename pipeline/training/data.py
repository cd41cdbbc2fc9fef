"""The cases as the network will see them: prepared once, kept on disk, drawn as patches.

Preparation is the predictor's own (``pipeline.models``), so what is trained on is what is
predicted on. Everything random is drawn from a generator seeded by (seed, epoch, place in the
epoch): no order of calls, no number of threads and no restart changes what is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StudyRejected
from pipeline.training import boxes, dicom_labels, ranks, reading
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import Case, Part, Snapshot
from pipeline.training.reading import LabelRefused, Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Input

#: turns a case into named arrays: "image" (float32, 0..1) and its targets
Preparation = Callable[[Input, Truth], Mapping[str, NDArray[Any]]]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The folders of the prepared cases, by part, in the order of the snapshot."""

    training: tuple[Path, ...]
    validation: tuple[Path, ...]


def read_image(case: Case, recipe: Recipe) -> Input:
    """Read the image of a case. What is for CT is taken for Hounsfield units.

    Raises:
        StudyRejected: it cannot be read, or has no valid geometry.

    """
    unit = "HU" if "CT" in recipe.input.modalities else ""
    return reading.read_image(
        case.image,
        spatial_dims=recipe.input.spatial_dims,
        channels=recipe.input.channels,
        unit=unit,
        takes_slices=recipe.kind in ("segmentation", "restoration"),
    )


def read_truth(case: Case, recipe: Recipe, image: Input) -> Truth:
    """Read what is true of a case.

    Raises:
        LabelRefused: the label does not fit the image or the recipe.
        StudyRejected: the file of the mask cannot be read.

    """
    if recipe.kind == "restoration":
        return Truth()
    if isinstance(case.label, str):
        return Truth(label=case.label)
    if dicom_labels.is_dicom(case.label):
        return _read_dicom_truth(case.label, recipe, image)
    if recipe.kind == "segmentation":
        return Truth(mask=reading.read_mask(case.label, image, largest=len(recipe.labels)))
    names = tuple(label.name for label in recipe.labels)
    return Truth(boxes=boxes.read(case.label, labels=names))


def _read_dicom_truth(label: Path, recipe: Recipe, image: Input) -> Truth:
    if recipe.kind == "classification":
        return Truth(label=dicom_labels.read_class(label, image, recipe))
    if recipe.kind == "segmentation":
        return Truth(mask=dicom_labels.read_mask(label, image, recipe))
    return Truth(boxes=dicom_labels.read_boxes(label, image, recipe))


def prepare(
    snapshot: Snapshot,
    recipe: Recipe,
    preparation: Preparation,
    folder: Path,
    *,
    checkpoint: Callable[[], None],
) -> Prepared:
    """Read and check every case, held-out ones too, and keep what is trained on as arrays.

    A case that was kept before, for the same input settings, is not read again.

    Raises:
        ManifestInvalid: with every case that cannot be read or whose label does not fit.
        Interrupted: by ``checkpoint``, called before each case.

    """
    settings = recipe.model_dump(mode="json", include={"kind", "input", "labels", "options"})
    stamp = json.dumps(settings, sort_keys=True)
    faults: list[Fault] = []
    kept: dict[Part, list[Path]] = {part: [] for part in Part}
    for case in snapshot.cases:
        checkpoint()
        place = folder / case.digest
        kept[case.part].append(place)
        if _is_kept(place, stamp):
            continue
        try:
            image = read_image(case, recipe)
            arrays = preparation(image, read_truth(case, recipe, image))
        except StudyRejected as refused:
            faults.append(Fault(case.row, "image", refused.sentence))
        except LabelRefused as refused:
            faults.append(Fault(case.row, "label", str(refused)))
        else:
            _keep(place, arrays if case.part is not Part.HELD_OUT else {}, stamp)
    if faults:
        raise ManifestInvalid(faults)
    return Prepared(training=tuple(kept[Part.TRAINING]), validation=tuple(kept[Part.VALIDATION]))


def load(place: Path) -> Arrays:
    """Return the arrays of a prepared case; pages are read as they are touched."""
    return {
        file.stem: np.load(file, mmap_mode="r", allow_pickle=False)
        for file in sorted(place.glob("*.npy"))
    }


@dataclass(frozen=True)
class Draw:
    """One patch to draw: which case, and the generator that decides the rest."""

    case: int
    random: np.random.Generator


def draws(recipe: Recipe, cases: int, epoch: int) -> list[Draw]:
    """Return the patches of an epoch in their order, the same however often it is asked."""
    order = np.random.default_rng((recipe.seed, epoch)).permutation(_drawn(recipe, cases))
    return [
        Draw(int(place) % cases, np.random.default_rng((recipe.seed, epoch, 1, int(place))))
        for place in order
    ]


def batch_count(recipe: Recipe, cases: int) -> int:
    """Return how many batches the draws of an epoch make."""
    return -(-_drawn(recipe, cases) // recipe.batch)


def _drawn(recipe: Recipe, cases: int) -> int:
    return cases * (1 if recipe.kind == "classification" else recipe.patches)


def in_batches(items: Sequence[Draw], size: int, first: int) -> Iterator[Sequence[Draw]]:
    """Yield batches from number ``first`` on; the last one may be smaller.

    Of several processes that train one model each gets its share of every batch.
    """
    for start in range(first * size, len(items), size):
        yield ranks.share(items[start : start + size])


def patch_start(
    shape: Sequence[int],
    size: Sequence[int],
    centre: Sequence[float] | None,
    random: np.random.Generator,
) -> tuple[int, ...]:
    """Choose the first voxel of a patch: around ``centre``, not always in its middle, or anywhere.

    Where the image is smaller than the patch the start is 0, and the patch is padded.
    """
    start = []
    for axis, (extent, width) in enumerate(zip(shape, size, strict=True)):
        last = max(extent - width, 0)
        if centre is None:
            start.append(int(random.integers(last + 1)))
            continue
        # the middle half of the patch may hold the centre
        place = centre[axis] - width * random.uniform(0.25, 0.75)
        start.append(int(np.clip(round(place), 0, last)))
    return tuple(start)


def cut(array: NDArray[Any], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Copy a patch of ``size``; what lies beyond the array is 0."""
    inside = tuple(slice(first, first + width) for first, width in zip(start, size, strict=True))
    patch = np.asarray(array[inside])
    widths = [(0, width - have) for width, have in zip(size, patch.shape, strict=True)]
    return np.pad(patch, widths) if any(after for _, after in widths) else patch.copy()


def _is_kept(place: Path, stamp: str) -> bool:
    try:
        return (place / "stamp").read_text() == stamp
    except FileNotFoundError:
        return False


def _keep(place: Path, arrays: Arrays, stamp: str) -> None:
    """Write the arrays, and last the stamp: without it a case counts as not prepared."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "stamp").unlink(missing_ok=True)
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", array)
    (place / "stamp").write_text(stamp)
