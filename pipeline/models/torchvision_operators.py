"""torchvision beside a torch that its compiled operators were not built for.

The registry's torchvision is built for CUDA. Beside a CPU-only torch its library does not load, and
then ``import torchvision`` fails: it describes the operators ``nms`` and ``qnms``, which nobody has
defined. ``install`` lets an import of torchvision succeed all the same: where the library did not
load, both operators are defined through ``torch.library`` before anything asks for them, and
``nms`` gets a kernel in plain torch. Where the library loads, nothing is changed. Importing this
module imports neither torch nor torchvision.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor

#: torchvision imports this one first and tries to load its library in it
_LOADS_LIBRARY: Final = "torchvision.extension"
_SCHEMA: Final = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
#: boxes compared at once with all that follow: (1024, 20000) floats are 80 MB
_BLOCK: Final = 1024
#: operators live as long as the object that defined them
_DEFINED: Final[list[Any]] = []


def install() -> None:
    """Look after the next import of torchvision in this process. May be called again."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds one module as Python does, and has it loaded by ``_Loader``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _LOADS_LIBRARY:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads a module by another loader, then defines what its library would have defined."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        extension: Any = module
        if not extension._has_ops():  # noqa: SLF001, torchvision asks itself so
            _define()
            extension._assert_has_ops = _nothing_is_missing  # noqa: SLF001


def _nothing_is_missing() -> None:
    """Stand for a check that would refuse ``nms``, which now exists."""


def _define() -> None:
    import torch

    library: Any = torch.library
    library = library.Library("torchvision", "DEF")
    library.define(f"nms{_SCHEMA}")
    library.define(f"qnms{_SCHEMA}")
    library.impl("nms", nms, "CompositeExplicitAutograd")
    _DEFINED.append(library)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return which boxes stay when of two that overlap the better one does.

    Greedy, as ``torchvision.ops.nms``: a box goes if its intersection over union with one that
    stays and has a higher score is above the threshold. Of equal scores the first is better.

    Args:
        boxes: (N, 4), x0, y0, x1, y1.
        scores: (N,).
        iou_threshold: 0 to 1.

    Returns:
        int64 indices, the best first.

    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    ordered = boxes[order].float()
    alive = torch.ones(len(ordered), dtype=torch.bool, device=boxes.device)
    for first in range(0, len(ordered), _BLOCK):
        past = first + _BLOCK
        here = alive[first:past].nonzero()[:, 0] + first
        stay = here[_greedy(_overlap(ordered[here], ordered[here]) > iou_threshold)]
        alive[first:past] = False
        alive[stay] = True
        rest = alive[past:].nonzero()[:, 0] + past
        if len(stay) and len(rest):
            hit = (_overlap(ordered[stay], ordered[rest]) > iou_threshold).any(0)
            alive[rest[hit]] = False
    return order[alive]


def _greedy(overlaps: Tensor) -> Tensor:
    """Return, of boxes in order of their scores, a mask of those that stay."""
    import numpy as np
    import torch

    over = overlaps.cpu().numpy()
    stays = np.ones(len(over), np.bool_)
    for place in range(len(over)):
        if stays[place]:
            stays[place + 1 :] &= ~over[place, place + 1 :]
    return torch.from_numpy(stays).to(overlaps.device)


def _overlap(some: Tensor, others: Tensor) -> Tensor:
    """Return intersection over union, (N, M). NaN, which no threshold is below, for no area."""
    low = some[:, None, :2].maximum(others[None, :, :2])
    high = some[:, None, 2:].minimum(others[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (_area(some)[:, None] + _area(others)[None, :] - shared)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
