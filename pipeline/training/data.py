"""The cases as the network will see them: prepared once, kept on disk, drawn as patches.

Preparation is the predictor's own (``pipeline.models``), so what is trained on is what is
predicted on. Everything random is drawn from a generator seeded by (seed, epoch, place in the
epoch): no order of calls, no number of threads and no restart changes what is drawn.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StudyRejected
from pipeline.models import checks, networks
from pipeline.reasons import Reason
from pipeline.training import (
    box_files,
    boxes,
    dicom_labels,
    patient_values,
    ranks,
    reading,
)
from pipeline.training.faults import Fault
from pipeline.training.manifest import Case
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Channels, Input, Volume

#: turns a case (``read_case``) into named arrays: "image" (float32, 0..1) and its targets
Preparation = Callable[[Any, Truth], Mapping[str, NDArray[Any]]]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The folders of the prepared cases, by part, in the order of the snapshot."""

    training: tuple[Path, ...]
    validation: tuple[Path, ...]
    #: learnt from without a label
    unlabelled: tuple[Path, ...] = ()
    #: what was mended, by row
    warnings: tuple[Fault, ...] = ()


def read_case(case: Case, recipe: Recipe) -> Input | Channels:
    """Read the images of a case that the recipe takes: one, or several series as channels.

    Where the recipe reads a table, what the manifest says of the patient stands in the header.

    Raises:
        StudyRejected: one cannot be read, has no valid geometry or lies on another grid; or one is
            missing that the network cannot do without.

    """
    values = case.values if recipe.input.table else {}
    modality = recipe.input.modalities[0]
    chosen = recipe.input.images or range(len(case.images))
    paths = [case.images[place] if place < len(case.images) else None for place in chosen]
    if len(paths) == 1:
        return patient_values.stating(read_image(case, recipe), values, modality=modality)
    series = [None if path is None else _read(path, recipe) for path in paths]
    volumes = tuple(one for one in series if isinstance(one, Volume))
    present = tuple(one is not None for one in series)
    if len(volumes) < sum(present):
        raise StudyRejected("several series are volumes", Reason.PIXELS_UNSUPPORTED)
    if not all(present) and not networks.takes_missing(recipe.network.name):
        sentence = "the network of this recipe cannot do without one of its series"
        raise StudyRejected(sentence, Reason.FILE_MISSING)
    read = Channels(volumes=volumes, present=present)
    return patient_values.stating_all(read, values, modality=modality)


def read_image(case: Case, recipe: Recipe) -> Input:
    """Read the one image of a case that the recipe takes.

    Raises:
        StudyRejected: it is missing, cannot be read, or has no valid geometry.

    """
    place = recipe.input.images[0] if recipe.input.images else 0
    path = case.images[place] if place < len(case.images) else None
    if path is None:
        raise StudyRejected("the image that the recipe takes is missing", Reason.FILE_MISSING)
    return _read(path, recipe)


def _read(path: Path, recipe: Recipe) -> Input:
    """Read an image. What is for CT is taken for Hounsfield units."""
    return reading.read_image(
        path,
        spatial_dims=recipe.input.spatial_dims,
        channels=recipe.input.channels,
        unit="HU" if "CT" in recipe.input.modalities else "",
        also=_also(recipe),
        to_grey=recipe.snapshot.colours == "to-grey",
    )


def _also(recipe: Recipe) -> Literal["volume", "image"] | None:
    """Return the kind of series that is read beside the one that a recipe's axes ask for."""
    if recipe.kind in ("segmentation", "restoration"):
        return "volume"  # slice by slice
    if recipe.kind == "classification" and checks.takes_loops(recipe.input.to_spec()):
        return "image"
    return None


def read_truth(case: Case, recipe: Recipe, image: Input | Channels) -> Truth:
    """Read what is true of a case.

    Raises:
        LabelRefused: the label does not fit the image or the recipe.
        StudyRejected: the file of the mask cannot be read.

    """
    if recipe.kind == "restoration":
        return Truth()
    if isinstance(case.label, str):
        return Truth(label=case.label)
    if isinstance(image, Channels):  # they lie on one grid
        image = image.volumes[0]
    if dicom_labels.is_dicom(case.label):
        return _read_dicom_truth(case.label, recipe, image)
    if recipe.tells_objects_apart:
        return Truth(objects=reading.read_objects(case.label, image))
    if recipe.kind == "segmentation":
        return Truth(mask=reading.read_mask(case.label, image, largest=len(recipe.labels)))
    return _read_boxes(case.label, case, recipe, image)


def _read_boxes(path: Path, case: Case, recipe: Recipe, image: Input) -> Truth:
    settled = boxes.settle(
        box_files.read(path, case.image.name),
        image,
        [label.name for label in recipe.labels],
        drops_empty=recipe.snapshot.empty_boxes == "drop",
    )
    return Truth(boxes=settled.boxes, notes=settled.notes)


def _read_dicom_truth(label: Path, recipe: Recipe, image: Input) -> Truth:
    if recipe.kind == "classification":
        return Truth(label=dicom_labels.read_class(label, image, recipe))
    if recipe.kind == "segmentation":
        return Truth(mask=dicom_labels.read_mask(label, image, recipe))
    return Truth(boxes=dicom_labels.read_boxes(label, image, recipe))


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


def draws(recipe: Recipe, places: Sequence[Path], epoch: int) -> list[Draw]:
    """Return the patches of an epoch in their order, the same however often it is asked."""
    cases = _drawn(recipe, places)
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(cases))
    return [
        Draw(cases[place], np.random.default_rng((recipe.seed, epoch, 1, int(place))))
        for place in order
    ]


def batch_count(recipe: Recipe, places: Sequence[Path]) -> int:
    """Return how many batches the draws of an epoch make."""
    return len(_starts(len(_drawn(recipe, places)), recipe.batch))


def _drawn(recipe: Recipe, places: Sequence[Path]) -> list[int]:
    """Return the case of each patch of an epoch, every case once before any a second time."""
    if recipe.kind == "classification" or not places:
        return list(range(len(places)))
    counts = np.full(len(places), recipe.patches)
    if recipe.patches_by == "size":
        sizes = _voxels(tuple(places))
        shares = recipe.patches * sizes / np.median(sizes)
        counts = np.maximum(1, np.rint(shares)).astype(np.int64)
    return [int(case) for turn in range(counts.max()) for case in np.flatnonzero(counts > turn)]


@functools.lru_cache(maxsize=1)
def _voxels(places: tuple[Path, ...]) -> NDArray[np.int64]:
    """Return the size of each prepared image, channels apart; every epoch asks again."""
    return np.array([load(place)["image"][0].size for place in places])


def in_batches(items: Sequence[Draw], size: int, first: int) -> Iterator[Sequence[Draw]]:
    """Yield batches from number ``first`` on; the last one may be smaller, or larger by one.

    Of several processes that train one model each gets its share of every batch.
    """
    starts = _starts(len(items), size)
    for start, end in itertools.pairwise([*starts[first:], len(items)]):
        yield ranks.share(items[start:end])


def _starts(count: int, size: int) -> Sequence[int]:
    """Return where batches begin.

    A single one that is left over joins the batch before it: where maps shrink to one value, a norm
    over the batch has nothing to compare it with.
    """
    starts = range(0, count, size)
    return starts[:-1] if len(starts) > 1 and count - starts[-1] == 1 < size else starts


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
