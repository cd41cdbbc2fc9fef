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
from typing import Any, Final

#: torchvision imports this one first and tries to load its library in it
_LOADS_LIBRARY: Final = "torchvision.extension"
_SCHEMA: Final = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
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

    from pipeline.models import suppression

    library: Any = torch.library
    library = library.Library("torchvision", "DEF")
    library.define(f"nms{_SCHEMA}")
    library.define(f"qnms{_SCHEMA}")
    library.impl("nms", suppression.nms, "CompositeExplicitAutograd")
    _DEFINED.append(library)
