"""Which images of the source a derived image was computed from (PS3.3 C.7.6.1.1.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from pipeline.dicom.writing.modules import coded
from pipeline.volume import SourceHeader, SourceInstance, Volume

#: share of a slice by which a plane may miss a slice and still lie on it
_ON_SLICE = 0.01


def slices_at(volume: Volume, corners: NDArray[np.float64]) -> list[int]:
    """Return the slices of the source between which a plane lies.

    Args:
        volume: the source.
        corners: of the plane, (4, 3) LPS mm.

    Returns:
        Indices into the header's instances: one for a plane on a slice, two for one between
        slices, all that it crosses where it is oblique to them; the nearest one outside.

    """
    inverse = np.linalg.inv(volume.affine)
    depths = corners @ inverse[0, :3] + inverse[0, 3]
    last = volume.stored.shape[0] - 1
    first_place = int(np.clip(np.floor(depths.min() + _ON_SLICE), 0, last))
    last_place = int(np.clip(np.ceil(depths.max() - _ON_SLICE), 0, last))
    places = np.arange(last + 1)
    if volume.regridding is not None:
        places = np.asarray(volume.regridding.slices)
    found: list[int] = np.flatnonzero((first_place <= places) & (places <= last_place)).tolist()
    middle = (first_place + last_place) / 2
    return found or [int(np.argmin(np.abs(places - middle)))]


def source_images(
    header: SourceHeader, slices: Sequence[int], *, is_same_grid: bool
) -> list[Dataset]:
    """Return the items of Source Image Sequence for instances of ``header``, each instance once."""
    chosen = [header.instances[index] for index in slices]
    return [
        _item(instance, [one.frame for one in chosen if one.sop_instance_uid == uid], is_same_grid)
        for uid, instance in {one.sop_instance_uid: one for one in chosen}.items()
    ]


def _item(
    instance: SourceInstance,
    frames: Sequence[int | None],
    is_same_grid: bool,  # noqa: FBT001 - private, named at its one call
) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = UID(instance.sop_class_uid)
    item.ReferencedSOPInstanceUID = UID(instance.sop_instance_uid)
    named = [frame for frame in frames if frame is not None]
    if named:
        item.ReferencedFrameNumber = named
    item.SpatialLocationsPreserved = "YES" if is_same_grid else "NO"
    item.PurposeOfReferenceCodeSequence = [coded(codes.DCM.SourceImageForImageProcessingOperation)]
    return item
