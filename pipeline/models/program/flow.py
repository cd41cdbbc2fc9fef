"""One run of a program: preprocessing, inferer and postprocessing, in MONAI's order.

Transforms and inferers of MONAI keep state while they run (what is inverted, which keys may be
missing, the size of a window), so every run builds its own from the configuration. Only the network
is shared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from monai.apps.detection.transforms.dictionary import (
    AffineBoxToWorldCoordinated,
    ConvertBoxModed,
)
from monai.data.utils import decollate_batch, list_data_collate
from monai.inferers.inferer import SimpleInferer
from monai.transforms.compose import Compose
from monai.transforms.post.dictionary import AsDiscreted, Invertd
from monai.transforms.transform import MapTransform
from monai.transforms.utils import reset_ops_id
from monai.utils.enums import CommonKeys
from torch import nn

from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.errors import ModelMismatch, PipelineError
from pipeline.models import sliding
from pipeline.models.predictor import Checkpoint
from pipeline.models.program.handing import Handing
from pipeline.models.program.layout import Layout
from pipeline.models.program.resolving import resolver
from pipeline.models.sampling import shared_copy
from pipeline.networks.vista3d import Vista3dInferer

IMAGE: Final[str] = CommonKeys.IMAGE
PREDICTION: Final[str] = CommonKeys.PRED
#: what MONAI and torch raise at data that does not fit
_REFUSALS: Final = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    AssertionError,
    NotImplementedError,
)
#: these turn boxes into the coordinates of a file; ours are computed from the image's grid
TURN_BOXES: Final = (AffineBoxToWorldCoordinated, ConvertBoxModed)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The objects of one run, shared with no other."""

    handing: Handing
    preprocessing: Compose
    inferer: Callable[..., Any]
    postprocessing: Compose
    #: whether a CUDA device computes in mixed precision
    amp: bool
    #: what is done otherwise than written, in sentences
    warnings: tuple[str, ...]
    network: nn.Module
    device: torch.device

    def prepare(self) -> dict[str, Any]:
        """Return what the preprocessing makes of the image that was handed in.

        Raises:
            ModelMismatch: a transform cannot take the image, or needs what no image holds.

        """
        data = _applied(self.preprocessing, self.handing.data(), "preprocessing")
        if not isinstance(data.get(IMAGE), torch.Tensor):
            raise ConfigRefused(f"the preprocessing leaves nothing under {IMAGE!r}")
        # what a copy of the preprocessing inverts was done by other objects, which MONAI minds
        prepared: dict[str, Any] = reset_ops_id(data)  # type: ignore[no-untyped-call]
        return prepared

    def infer(self, data: Mapping[str, Any], *, checkpoint: Checkpoint, as_list: bool) -> Any:
        """Return the network's answer for prepared data, through the inferer, still as a batch.

        Args:
            data: as ``prepare`` returned it.
            checkpoint: called before every pass of the network. The caller holds the device.
            as_list: hand in a list of images, as detectors take them.

        Raises:
            ModelMismatch: the network cannot take the image.

        """
        image = data[IMAGE].to(self.device)
        batch = [image] if as_list else list_data_collate([{IMAGE: image}])[IMAGE]
        # of its own: the network is shared, and may be copied while this job runs it
        network = shared_copy(self.network)
        network.register_forward_pre_hook(lambda *_: checkpoint())
        try:
            with torch.no_grad(), self._precision():
                return self.inferer(batch, network)
        except _REFUSALS as error:
            if sliding.is_out_of_memory(error):
                raise
            sentence = f"the network cannot take an image of {tuple(image.shape)}: "
            raise ModelMismatch(sentence + _first_line(error)) from error

    def finish(self, data: Mapping[str, Any], answer: Any) -> dict[str, Any]:
        """Return the data with what the postprocessing makes of the answer.

        Raises:
            ModelMismatch: a transform cannot take the answer.

        """
        if isinstance(answer, list):
            # a detector's: its boxes lie beside the image, as its bundle's handler puts them
            (one,) = answer
        else:
            (one,) = decollate_batch({PREDICTION: answer}, detach=True)
        return _applied(self.postprocessing, {**data, **one}, "postprocessing")

    def _precision(self) -> AbstractContextManager[Any]:
        is_mixed = self.amp and self.device.type == "cuda"
        return torch.autocast("cuda") if is_mixed else nullcontext()


def build(
    document: Document,
    layout: Layout,
    files: Mapping[str, Any],
    network: nn.Module,
    device: torch.device,
) -> Run:
    """Build the objects of one run.

    Raises:
        ConfigRefused: a part is not what a run needs.

    """
    handing = Handing(files)
    parts = resolver(
        document, given={**dict.fromkeys(layout.network, network), "device": device}, load=handing
    )
    if layout.required is not None:
        parts.get(layout.required)
    preprocessing = _compose(parts.get(layout.preprocessing))
    postprocessing = _compose(
        None if layout.postprocessing is None else parts.get(layout.postprocessing)
    )
    inferer = SimpleInferer() if layout.inferer is None else parts.get(layout.inferer)
    if layout.prompts is not None and isinstance(inferer, Vista3dInferer):
        inferer = _asking(inferer, layout.prompts, parts.get(layout.prompts))
    _let_miss(preprocessing, handing.absent)
    _let_miss(postprocessing, handing.absent | {CommonKeys.LABEL})
    return Run(
        handing=handing,
        preprocessing=preprocessing,
        inferer=inferer,
        postprocessing=postprocessing,
        amp=layout.amp is not None and parts.get(layout.amp) is True,
        warnings=_keep_numbers(postprocessing),
        network=network,
        device=device,
    )


def steps(chain: Compose) -> list[Any]:
    """Return the transforms of a chain one after the other, those of nested chains too."""
    flatten: Callable[[], Compose] = chain.flatten
    return list(flatten().transforms)


def _compose(found: Any) -> Compose:
    """Return one Compose; a list of transforms or a single one is put into one."""
    if found is None:
        return Compose([])
    return found if isinstance(found, Compose) else Compose(found)


def _asking(inferer: Vista3dInferer, name: str, prompts: Any) -> Vista3dInferer:
    if not isinstance(prompts, list | tuple):
        raise ConfigRefused(f"{name} is no list of classes")
    try:
        return inferer.asking_for(prompts)
    except ValueError as error:
        raise ConfigRefused(f"{name}: {error}") from error


def _let_miss(chain: Compose, absent: frozenset[str]) -> None:
    """Let transforms pass over ground truth and whatever else is loaded but was not given."""
    for transform in chain.transforms:
        # some transforms for dictionaries name their images in other ways than by keys
        if isinstance(transform, MapTransform) and absent & set(getattr(transform, "keys", ())):
            transform.allow_missing_keys = True


def _keep_numbers(chain: Compose) -> tuple[str, ...]:
    """Invert label numbers by the nearest voxel: means of two labels are no label, or a third."""
    are_numbers = False
    found: tuple[str, ...] = ()
    for transform in steps(chain):
        if isinstance(transform, AsDiscreted) and any(transform.argmax):
            are_numbers = True
        elif are_numbers and isinstance(transform, Invertd) and not all(transform.nearest_interp):
            transform.nearest_interp = (True,) * len(transform.nearest_interp)
            found = ("label numbers are inverted by the nearest voxel, where linearly was stated",)
    return found


def _applied(chain: Compose, data: dict[str, Any], stage: str) -> dict[str, Any]:
    """Apply transforms one by one, so that a refusal can name the one that refused."""
    # transforms that wait for each other are one step
    for transform in [chain] if chain.lazy else steps(chain):
        if isinstance(transform, TURN_BOXES):
            continue
        name = type(transform).__name__
        try:
            with torch.no_grad():
                data = transform(data)
        except PipelineError:
            raise
        except KeyError as error:
            named = re.search(r"[Kk]ey `(\w+)`", str(error))
            key = named[1] if named else str(error)[:100]
            sentence = f"{name} of the {stage} needs {key!r}, which no image holds"
            raise ModelMismatch(sentence) from error
        except _REFUSALS as error:
            if sliding.is_out_of_memory(error):
                raise
            sentence = f"{name} of the {stage} cannot take the image: {_first_line(error)}"
            raise ModelMismatch(sentence) from error
    return data


def _first_line(error: Exception) -> str:
    """Return what went wrong without the page of shapes that may follow. No words of a patient's.

    Nothing but voxels and an affine was handed in.
    """
    return " ".join(str(error).split())[:200]
