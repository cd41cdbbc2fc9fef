"""Body and lung masks of a CT from Hounsfield units and 3-D component rules. No weights.

Body: the largest component of what is denser than ``body_hu``, with the holes of every axial slice
filled. Lung: what is lighter than ``air_hu`` inside the body, the largest components of it. The
order of the classic of Hu, Hoffman and Reinhardt (IEEE TMI 20(6), 2001) without its trachea step:
air of the trachea and the main bronchi counts as lung where it is connected to it.
"""

from __future__ import annotations

import time

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.models import checks, measures
from pipeline.models.options import ThresholdOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.spec import ModelSpec
from pipeline.results import Prediction
from pipeline.volume import Input, Volume

Mask = NDArray[np.bool_]


class ThresholdPredictor:
    """Answers with a mask made by rules. Holds nothing that changes: jobs share it freely."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._options = ThresholdOptions.model_validate(dict(spec.options))

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with a label map of one label. See ``Predictor.predict``."""
        volume = checks.volume(image, self.spec)
        began = time.perf_counter()
        mask = body(volume, self._options)
        checkpoint()
        warnings: tuple[str, ...] = ()
        if self._options.region == "lung":
            mask = lung(volume, mask, self._options, checkpoint=checkpoint)
        if not mask.any():
            warnings = (f"no {self._options.region} was found",)
        label_map = mask.view(np.uint8)
        computed = time.perf_counter()
        found = measures.segments(label_map, volume, self.spec.labels)
        return Prediction(
            findings=found,
            label_map=label_map,
            options={"device": "cpu", **self._options.model_dump()},
            seconds={"model": computed - began, "measure": time.perf_counter() - computed},
            warnings=warnings,
        )


def body(volume: Volume, options: ThresholdOptions) -> Mask:
    """Return the mask of the body, uint8-sized bool of the volume's shape.

    Six neighbours make a component: a table that touches the skin along edges stays apart.
    """
    dense = volume.stored >= _stored(volume, options.body_hu)
    if volume.slope < 0:
        dense = volume.stored <= _stored(volume, options.body_hu)
    largest = _components(dense, keep=1, smallest=1, share=1.0)
    return _fill_axial_holes(largest, volume)


def lung(
    volume: Volume, inside: Mask, options: ThresholdOptions, *, checkpoint: Checkpoint
) -> Mask:
    """Return the mask of both lungs.

    Air that touches the edge of an axial slice is outside of ``inside`` already, unless the body
    itself is cut off there. Vessels and nodules surrounded by lung in a slice count as lung.
    """
    level = _stored(volume, options.air_hu)
    light = volume.stored < level if volume.slope > 0 else volume.stored > level
    light &= inside
    checkpoint()
    smallest = max(1, round(options.minimum_ml / volume.voxel_volume_ml))
    kept = _components(
        light,
        keep=options.components,
        smallest=smallest,
        share=options.minimum_share,
    )
    checkpoint()
    if options.closing_mm > 0 and kept.any():
        kept = _close(kept, volume, options.closing_mm) & inside
    return _fill_axial_holes(kept, volume)


def _stored(volume: Volume, value: float) -> float:
    """Return the stored number that means ``value``: no float volume is needed to compare."""
    return (value - volume.intercept) / volume.slope


def _components(mask: Mask, *, keep: int, smallest: int, share: float) -> Mask:
    """Keep the largest components: at least ``smallest`` voxels, and ``share`` of the largest."""
    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=6)
    sizes = np.zeros(int(labels.max()) + 1, np.int64)
    for plane in labels:
        counts = np.bincount(plane.ravel())
        sizes[: len(counts)] += counts
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:keep]
    limit = max(1, smallest, share * sizes[order[0]])
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[order[sizes[order] >= limit]] = True
    return np.asarray(chosen[labels])


def _fill_axial_holes(mask: Mask, volume: Volume) -> Mask:
    """Fill what is enclosed by the mask in each slice across the patient's long axis."""
    long_axis = int(np.argmax(np.abs(volume.affine[2, :3])))
    filled = np.empty(mask.shape, np.bool_)
    planes, targets = np.moveaxis(mask, long_axis, 0), np.moveaxis(filled, long_axis, 0)
    for plane, target in zip(planes, targets, strict=True):
        target[...] = _fill_holes(plane)
    return filled


def _fill_holes(plane: Mask) -> Mask:
    """Return a plane with every background component that does not reach its edge filled."""
    if not plane.any():
        return plane
    # one ring of background joins all that reaches the edge into the component of the corner
    ringed = np.pad(plane, 1)
    outside = cc3d.connected_components(np.ascontiguousarray(~ringed), connectivity=4)
    return np.asarray((outside != outside[0, 0])[1:-1, 1:-1])


def _close(mask: Mask, volume: Volume, radius: float) -> Mask:
    """Close gaps narrower than twice ``radius`` mm, on the box of the mask widened by it."""
    margin = [int(np.ceil(radius / length)) + 1 for length in volume.spacing]
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    wide = tuple(
        slice(max(0, part.start - more), part.stop + more)
        for part, more in zip(box, margin, strict=True)
    )
    cut = np.pad(mask[wide], [(more, more) for more in margin])
    grown = ndimage.distance_transform_edt(~cut, sampling=volume.spacing) <= radius
    closed = ndimage.distance_transform_edt(grown, sampling=volume.spacing) > radius
    inner = tuple(slice(more, -more) for more in margin)
    result = mask.copy()
    result[wide] |= closed[inner]
    return result
