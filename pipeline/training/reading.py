"""Reading one case: its image with its place in the patient, and what is true of it.

NIfTI and NRRD-like files state world coordinates to the left and front differently from DICOM;
everything leaves this room in patient coordinates (LPS, mm) on (slices, rows, columns).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.training import nrrd, pictures, videos
from pipeline.volume import Image, Input, Volume

if TYPE_CHECKING:
    from pipeline.training.boxes import Box, PixelBox

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GRID_TOLERANCE = 1e-2
#: files of 16 bits and of float32 hold such numbers without loss
_MOST_OBJECTS = 2**24
#: kinds of types that are read: neither complex values nor several to a voxel
_NUMBERS = "iufb"


class LabelRefused(ValueError):
    """The mask or the boxes of a case are not what the recipe asks for, or do not fit its image."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is true of a case. One label is set, by the kind; none where the image itself is."""

    label: str | None = None
    #: uint8 (slices, rows, columns) on the grid of the image
    mask: NDArray[np.uint8] | None = field(default=None, repr=False)
    boxes: tuple[Box | PixelBox, ...] | None = None
    #: int32 (slices, rows, columns): the number of the object of each voxel, from 1, 0 for none
    objects: NDArray[np.int32] | None = field(default=None, repr=False)
    #: what was done to the label, in sentences
    notes: tuple[str, ...] = ()


def read_image(
    path: Path,
    *,
    spatial_dims: int,
    channels: int = 1,
    unit: str = "",
    also: Literal["volume", "image"] | None = None,
    to_grey: bool = False,
) -> Input:
    """Read a NIfTI or NRRD file, a DICOM folder, a .npy array, a picture or a video.

    A loop is a folder with one multi-frame DICOM series, an array (frames, rows, columns), a TIFF
    picture of several frames or a video.

    Args:
        path: a file, or a folder with one series.
        spatial_dims: axes of the network; 2 asks for a single image.
        channels: 3 = an array (rows, columns, 3), a picture and a video are read in their colours.
        unit: of the values in files that do not say it: "HU" where the recipe is for CT.
        also: a kind of series that a folder may hold beside the one that the axes ask for.
        to_grey: whether what is in colours is turned to grey where grey is asked for.

    Raises:
        StudyRejected: it cannot be read, or has no valid geometry.

    """
    name = path.name.lower()
    if path.is_dir():
        wanted = {"image" if spatial_dims == 2 else "volume"}
        return _from_dicom(path, wanted if also is None else wanted | {also})
    if name.endswith((".nii", ".nii.gz")):
        return _from_nifti(path, unit)
    if name.endswith(".nrrd"):
        return nrrd.read(path, unit)
    is_colour = channels == 3 and spatial_dims == 2
    if read := coloured(path):
        return read(path, is_colour=is_colour, to_grey=to_grey)
    if is_colour:
        return _from_colours(path)
    return _from_array(path, spatial_dims, unit)


def coloured(path: Path) -> Callable[..., Image] | None:
    """Return what reads a file that may be in colours: a picture or a video; None: it is neither.

    It takes ``is_colour`` and ``to_grey`` as ``pictures.read`` does.
    """
    name = path.name.lower()
    if name.endswith(pictures.SUFFIXES):
        return pictures.read
    return videos.read if name.endswith(videos.SUFFIXES) else None


def read_mask(path: Path, image: Input, *, largest: int) -> NDArray[np.uint8]:
    """Read a mask on the grid of ``image``; of a volume, whichever way its axes run.

    Raises:
        LabelRefused: another grid, or values that are not whole numbers from 0 to ``largest``.
        StudyRejected: the file cannot be read.

    """
    return _numbers(path, image, largest).astype(np.uint8)


def read_objects(path: Path, image: Input) -> NDArray[np.int32]:
    """Read a map of objects on the grid of ``image``, each voxel the number of its object.

    Returns:
        int32, 0 for none, else from 1 without a gap.

    Raises:
        LabelRefused: another grid, or values that are no whole numbers from 0 on.
        StudyRejected: the file cannot be read.

    """
    numbers = _numbers(path, image, _MOST_OBJECTS)
    known, places = np.unique(numbers, return_inverse=True)
    first = 0 if known[0] == 0 else 1
    return (places.reshape(numbers.shape) + first).astype(np.int32)


def _numbers(path: Path, image: Input, largest: int) -> NDArray[np.int64]:
    values = _mask_values(path, image)
    shape = image.stored.shape if isinstance(image, Volume) else image.pixels.shape[:3]
    if values.shape != shape:
        raise LabelRefused(f"the mask has shape {values.shape}, its image {shape}")
    numbers: NDArray[np.int64] = np.rint(values).astype(np.int64)
    if not np.array_equal(numbers, values) or numbers.min() < 0 or numbers.max() > largest:
        sentence = f"the values of the mask are not whole numbers from 0 to {largest}"
        raise LabelRefused(sentence)
    return numbers


def _mask_values(path: Path, image: Input) -> NDArray[Any]:
    """Read (slices or frames, rows, columns); a mask without the first axis has one plane."""
    name = path.name.lower()
    if name.endswith(pictures.SUFFIXES):
        return pictures.read_numbers(path)
    if name.endswith(".npy"):
        values = _load_array(path)
        return values[None] if values.ndim == 2 else values
    if not isinstance(image, Volume):
        raise LabelRefused("the mask of a single image is a .npy array or a picture")
    return _on_grid(nrrd.read(path) if name.endswith(".nrrd") else _from_nifti(path, ""), image)


def _ignore(count: int) -> None:
    """Take a count of files that nobody waits for."""


def _from_dicom(folder: Path, kinds: AbstractSet[str]) -> Input:
    """Read the one series of a folder, by the same scan and the same reader as inference."""
    from pipeline.dicom import reading as dicom
    from pipeline.dicom.refusal import SourceRefused
    from pipeline.dicom.scan import scan

    try:
        with scan(folder, on_progress=_ignore, processes=1) as report:
            studies = list(report.studies())
    except SourceRefused as refused:
        raise StudyRejected(refused.sentence, refused.reason) from refused
    found = [one for study in studies for one in study.series if one.kind in kinds]
    if len(found) != 1:
        asked = " or ".join(f"{kind}s" for kind in sorted(kinds))
        sentence = f"the folder holds {len(found)} series that are {asked}, not exactly one"
        raise StudyRejected(sentence, Reason.SELECTION_NO_SERIES)
    series = found[0]
    if series.verdict is not Reason.OK:
        raise StudyRejected(series.detail or str(series.verdict), series.verdict)
    files = dicom.SeriesFiles.of(str(folder), series)
    return dicom.read(files, as_image=series.kind == "image")


def _from_nifti(path: Path, unit: str) -> Volume:
    """Read NIfTI: axes (i, j, k) become (slices, rows, columns) = (k, j, i), RAS becomes LPS."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    broken = (ImageFileError, HeaderDataError, OSError, ValueError, EOFError, OverflowError)
    try:
        file: Any = nibabel.load(path)
        values = np.asarray(file.dataobj)
        affine = np.asarray(file.affine, np.float64)
    except (*broken, zlib.error) as error:
        raise StudyRejected("it is not a readable NIfTI file", Reason.FILE_UNREADABLE) from error
    if values.dtype.kind not in _NUMBERS:
        raise StudyRejected("the file holds no plain numbers", Reason.PIXELS_UNSUPPORTED)
    if values.ndim != 3:
        sentence = f"the file has {values.ndim} axes, not 3"
        raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
    turned = (_RAS_TO_LPS @ affine)[:, [2, 1, 0, 3]]
    stored = np.ascontiguousarray(values.transpose(2, 1, 0))
    if not np.isfinite(stored).all():
        raise StudyRejected("the file holds values that are not numbers", Reason.PIXELS_UNSUPPORTED)
    return Volume(stored=stored, affine=turned, unit=unit)


def _on_grid(mask: Volume, image: Volume) -> NDArray[Any]:
    """Turn the axes of ``mask`` until they are those of ``image``; nothing is interpolated."""
    step = np.linalg.inv(mask.affine) @ image.affine  # index of the image -> index of the mask
    whole = np.rint(step)
    corner = np.abs(step - whole) @ np.array([*image.stored.shape, 1.0])
    turn = whole[:3, :3].astype(int)
    is_turn = np.array_equal(np.abs(turn).sum(axis=0), [1, 1, 1]) and np.array_equal(
        np.abs(turn).sum(axis=1), [1, 1, 1]
    )
    if corner.max() > _GRID_TOLERANCE * max(image.stored.shape) or not is_turn:
        raise LabelRefused("the mask lies on another grid than its image")
    axes = [int(np.flatnonzero(turn[:, axis])[0]) for axis in range(3)]
    turned = mask.stored.transpose(axes)
    flips = tuple(axis for axis in range(3) if turn[axes[axis], axis] < 0)
    turned = np.flip(turned, flips)
    start = np.linalg.solve(step, [*_first_corner(turn, mask.stored.shape), 1.0])[:3]
    if turned.shape != image.stored.shape or np.abs(np.rint(start)).max() > 0:
        raise LabelRefused("the mask covers another part of the patient than its image")
    return np.ascontiguousarray(turned)


def _first_corner(turn: NDArray[Any], shape: tuple[int, ...]) -> list[float]:
    """Return the index in the mask that becomes (0, 0, 0) once its axes are turned."""
    return [float(shape[axis] - 1) if turn[axis].sum() < 0 else 0.0 for axis in range(3)]


def _from_array(path: Path, spatial_dims: int, unit: str) -> Input:
    values = _load_array(path)
    if spatial_dims == 2:
        pixels = values if values.ndim == 3 else values[None]
        return Image(pixels=pixels.astype(np.float32), unit=unit)
    return Volume(stored=values, affine=np.eye(4), unit=unit)


def _from_colours(path: Path) -> Image:
    values = _load_array(path)
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        sentence = "an array in colours is (rows, columns, 3) of uint8"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    return Image(pixels=values[None])


def axes_of(path: Path) -> int:
    """Return how many axes a .npy array has.

    Raises:
        StudyRejected: it cannot be read as numbers.

    """
    return _load_array(path).ndim


def _load_array(path: Path) -> NDArray[Any]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StudyRejected("it is not a readable .npy array", Reason.FILE_UNREADABLE) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in _NUMBERS:
        raise StudyRejected("the array holds no numbers", Reason.PIXELS_UNSUPPORTED)
    if not np.isfinite(values).all():
        raise StudyRejected(
            "the array holds values that are not numbers", Reason.PIXELS_UNSUPPORTED
        )
    return values
