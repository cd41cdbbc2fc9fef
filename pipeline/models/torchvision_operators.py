"""torchvision beside a torch that its compiled operators were not built for.

The registry's torchvision is built for CUDA. Beside a CPU-only torch its library does not load, and
then ``import torchvision`` fails: it describes the operators ``nms`` and ``qnms``, which nobody has
defined. ``install`` lets an import of torchvision succeed all the same: where the library did not
load, these are defined through ``torch.library`` before anything asks for them, and ``nms`` and
``roi_align`` get kernels of ours. torchvision would compute ``roi_align`` by a function of its own
that it compiles at the first call, which takes a C++ compiler and 10 to 20 seconds. Where the
library loads, nothing is changed. Importing this module imports neither torch nor torchvision.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

#: operators live as long as the object that defined them
_DEFINED: Final[list[Any]] = []


def install() -> None:
    """Look after the next import of torchvision in this process. May be called again."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds some modules as Python does, and has them loaded by ``_Loader``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _AFTERWARDS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, _AFTERWARDS[fullname])
        return spec


class _Loader(Loader):
    """Loads a module by another loader, then does to it what is missing."""

    def __init__(self, loader: Loader, afterwards: Callable[[Any], None]) -> None:
        self._loader = loader
        self._afterwards = afterwards

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._afterwards(module)


def _define_operators(extension: Any) -> None:
    """Define what the library would have defined, where it did not load."""
    if extension._has_ops():  # noqa: SLF001, torchvision asks itself so
        return
    import torch

    from pipeline.models import roi_align, suppression

    library: Any = torch.library
    library = library.Library("torchvision", "DEF")
    for name, schema in _SCHEMAS.items():
        library.define(f"{name}{schema}")
    library.impl("nms", suppression.nms, "CompositeExplicitAutograd")
    # made of operators that have gradients
    library.impl("roi_align", roi_align.roi_align, "CompositeImplicitAutograd")
    _DEFINED.append(library)
    extension._assert_has_ops = _nothing_is_missing  # noqa: SLF001


def _have_it_ask_for_the_operator(module: Any) -> None:
    """Let ``torchvision.ops.roi_align`` call the operator, whoever defined it."""
    module._has_ops = _there_is_one  # noqa: SLF001


def _nothing_is_missing() -> None:
    """Stand for a check that would refuse ``nms``, which now exists."""


def _there_is_one() -> bool:
    return True


_SUPPRESSION: Final = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_SCHEMAS: Final[Mapping[str, str]] = {
    "nms": _SUPPRESSION,
    "qnms": _SUPPRESSION,
    "roi_align": "(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
    "int pooled_width, int sampling_ratio, bool aligned) -> Tensor",
}
#: what is done to modules of torchvision when they were loaded; the first loads the library
_AFTERWARDS: Final[Mapping[str, Callable[[Any], None]]] = {
    "torchvision.extension": _define_operators,
    "torchvision.ops.roi_align": _have_it_ask_for_the_operator,
}
