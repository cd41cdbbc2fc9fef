"""The most usual program, recognised and run by our own way for it, at a fraction of the time.

Preprocessing: orientation, linear resampling, a window of values to 0..1, crop to the foreground.
Inferer: sliding windows. Postprocessing: softmax, linear inverse, largest channel. This is what
``pipeline.models.segmentation`` computes, with the same labels. One argument that says something
else, or one more step, and the program runs as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from monai.inferers.inferer import SlidingWindowInferer
from monai.transforms.croppad.dictionary import CropForegroundd
from monai.transforms.intensity.dictionary import ScaleIntensityRanged
from monai.transforms.post.dictionary import Activationsd, AsDiscreted, Invertd
from monai.transforms.spatial.dictionary import Orientationd, Spacingd
from monai.transforms.utility.dictionary import CastToTyped, EnsureChannelFirstd, EnsureTyped
from monai.transforms.utils import is_positive

from pipeline.models.program.flow import IMAGE, PREDICTION, Run, steps
from pipeline.models.program.handing import Load
from pipeline.models.spec import Kind, ModelSpec

#: what a step adds to ``InputSpec`` or, under "options", to ``SegmentationOptions``
_Fields = dict[str, Any]
_FLOATS: Final = (None, torch.float32, np.float32, "float32")
#: the deviation of our gaussian windows, as a part of their size
_SIGMA: Final = 0.125
#: what MONAI calls the directions of RAS axes
_DIRECTIONS: Final = (("L", "R"), ("P", "A"), ("I", "S"))


class NotLowered(Exception):
    """Why a program runs as it is written, as what follows "because"."""


def lowered(spec: ModelSpec, run: Run) -> ModelSpec:
    """Return the spec by which ``SegmentationPredictor`` answers as a program would.

    Args:
        spec: what the bundle states.
        run: the objects of its program, for images that never come.

    Raises:
        NotLowered: the program is of another form.

    """
    if spec.kind is not Kind.SEGMENTATION or spec.input.spatial_dims != 3:
        raise NotLowered("it is no segmentation of volumes")
    if spec.input.channels != 1:
        raise NotLowered("it takes several series")
    found = {**_before(run), **_windows(run.inferer)}
    options = {**found.pop("options", {}), **found.pop("blending"), **_after(run)}
    stated = replace(spec.input, **found)
    if stated.window is None:
        raise NotLowered("it scales values by other than a window")
    return replace(spec, program=None, input=stated, options=options)


def _before(run: Run) -> _Fields:
    """Read the preprocessing."""
    found: _Fields = {}
    last = -1
    if run.preprocessing.lazy:
        raise NotLowered("its transforms wait for each other")
    for step in steps(run.preprocessing):
        if type(step) is EnsureTyped or type(step) is CastToTyped:
            _require(step.dtype[0] in _FLOATS, "values are not float32")
            continue
        place = next((n for n, (one, _) in enumerate(_STEPS) if type(step) is one), None)
        if place is None:
            raise NotLowered(f"{type(step).__name__} is in its preprocessing")
        _require(place > last, f"{type(step).__name__} comes late or twice")
        _require(tuple(step.keys) == (IMAGE,), "it prepares more than the image")
        found |= _STEPS[place][1](step)
        last = place
    _require(found.pop("has_channel", False), "its image has no axis of channels")
    return found


def _load(step: Any) -> _Fields:
    _require(step.is_plain, "it loads in a way of its own")
    return {"has_channel": step.is_channel_first}


def _channel_first(step: Any) -> _Fields:
    _require(step.adjuster.input_channel_dim in (None, "no_channel"), "a channel axis is stated")
    return {"has_channel": True}


def _orientation(step: Any) -> _Fields:
    inner = step.ornt_transform
    _require(
        not inner.as_closest_canonical and not step.lazy and inner.labels in (None, _DIRECTIONS),
        "it orients in a way of its own",
    )
    return {"orientation": str(inner.axcodes)}


def _spacing(step: Any) -> _Fields:
    inner = step.spacing_transform
    _require(
        str(step.mode[0]) == "bilinear"
        and str(step.padding_mode[0]) == "border"
        and not step.align_corners[0]
        and not step.scale_extent[0]
        and not inner.diagonal
        and not inner.recompute_affine
        and not step.lazy,
        "it resamples in a way of its own",
    )
    pixdim = [float(length) for length in inner.pixdim]
    _require(
        len(pixdim) == 3
        and min(pixdim) > 0
        and bool(np.isnan(inner.min_pixdim).all() and np.isnan(inner.max_pixdim).all()),
        "it resamples some axes only",
    )
    return {"spacing": tuple(pixdim)}


def _scale(step: Any) -> _Fields:
    inner = step.scaler
    _require((inner.b_min, inner.b_max) == (0, 1) and inner.clip, "values become other than 0..1")
    _require(inner.a_min < inner.a_max and inner.dtype in _FLOATS, "values are turned round")
    return {"window": (float(inner.a_min), float(inner.a_max))}


def _crop(step: Any) -> _Fields:
    inner = step.cropper
    _require(
        step.source_key == IMAGE
        and inner.select_fn is is_positive
        and inner.channel_indices is None
        and not np.any(inner.margin)
        and bool(np.all(np.asarray(inner.k_divisible) == 1))
        and not step.lazy,
        "it crops in a way of its own",
    )
    return {"options": {"crop_foreground": True}}


#: in the only order in which they are computed alike
_STEPS: Final[Sequence[tuple[type, Callable[[Any], _Fields]]]] = (
    (Load, _load),
    (EnsureChannelFirstd, _channel_first),
    (Orientationd, _orientation),
    (Spacingd, _spacing),
    (ScaleIntensityRanged, _scale),
    (CropForegroundd, _crop),
)


def _windows(inferer: Any) -> _Fields:
    """Read the inferer."""
    if type(inferer) is not SlidingWindowInferer:
        raise NotLowered(f"its inferer is {type(inferer).__name__}")
    size, overlap = inferer.roi_size, inferer.overlap
    if isinstance(size, int) or len(size) != 3 or min(size) <= 0:
        raise NotLowered("its windows are not of one size")
    if not isinstance(overlap, float | int):
        raise NotLowered("its windows overlap by axis")
    _require(
        str(inferer.padding_mode) == "constant"
        and inferer.cval == 0
        and inferer.buffer_steps is None
        and not inferer.with_coord,
        "its windows are padded or passed in a way of their own",
    )
    blend = str(inferer.mode.value)
    _require(blend == "constant" or inferer.sigma_scale == _SIGMA, "its windows are weighted else")
    return {
        "size": tuple(int(count) for count in size),
        "overlap": float(overlap),
        "blending": {"blend": blend},
    }


def _after(run: Run) -> Mapping[str, Any]:
    """Read the postprocessing: what is interpolated on the way back."""
    chain = list(_significant(run))
    _require(bool(chain) and type(chain[-1]) is AsDiscreted, "it does not end with a label map")
    last = chain[-1]
    _require(
        bool(last.argmax[0])
        and last.to_onehot[0] is None
        and last.threshold[0] is None
        and last.rounding[0] is None,
        "its label map is not the largest channel",
    )
    kinds = [type(step) for step in chain[:-1]]
    _require(kinds.count(Invertd) == 1, "it is not inverted")
    _require(set(kinds) <= {Invertd, Activationsd} and len(kinds) <= 2, "it does more afterwards")
    for step in chain[:-1]:
        _check_after(step, run)
    is_scaled_first = kinds[0] is Activationsd
    return {"interpolates": "probabilities" if is_scaled_first else "logits"}


def _significant(run: Run) -> Iterator[Any]:
    for step in steps(run.postprocessing):
        _require(tuple(getattr(step, "keys", ())) == (PREDICTION,), "it answers with more")
        if type(step) is EnsureTyped:
            _require(step.dtype[0] in _FLOATS, "its answer is not float32")
        else:
            yield step


def _check_after(step: Any, run: Run) -> None:
    if type(step) is Activationsd:
        is_softmax = step.softmax[0] and not step.sigmoid[0] and step.other[0] is None
        _require(bool(is_softmax) and not step.converter.kwargs, "its scores are no softmax")
        return
    _require(
        step.transform is run.preprocessing
        and tuple(step.orig_keys) == (IMAGE,)
        and not step.nearest_interp[0]
        and step.post_func[0] is None,
        "it is inverted in a way of its own",
    )


def _require(holds: bool, why: str) -> None:  # noqa: FBT001, reads as a sentence
    if not holds:
        raise NotLowered(why)
