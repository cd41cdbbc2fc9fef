"""Arrays that a configuration loads beside the weights, such as the code of a searched network.

DiNTS (He et al., CVPR 2021) keeps the topology that its search found in a file of ``torch.save``:
NumPy arrays by name, beside scores of the search. As safetensors they come back as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import safe_open

from pipeline.models.bundle import BundleRefused

#: in the header of the safetensors: names of those that were NumPy arrays, one a line
_WERE_ARRAYS: Final = "numpy"
_NUMBERS: Final = "biuf"
_KINDS: Final = (
    np.dtypes.BoolDType, np.dtypes.Int8DType, np.dtypes.Int16DType, np.dtypes.Int32DType,
    np.dtypes.Int64DType, np.dtypes.UInt8DType, np.dtypes.Float16DType, np.dtypes.Float32DType,
    np.dtypes.Float64DType,
)  # fmt: skip
_reconstruct: Any = multiarray._reconstruct  # noqa: SLF001, pickles of arrays call it
#: what a pickle of an array of numbers asks for, by the names of NumPy 1 and 2
GLOBALS: Final[tuple[Any, ...]] = (
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in ((_reconstruct, "_reconstruct"), (multiarray.scalar, "scalar"))
    ),
    np.ndarray,
    np.dtype,
    *_KINDS,
)


def named(loaded: Any, name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the arrays and tensors of a mapping as tensors; whatever else it holds is left out.

    Args:
        loaded: what a file held.
        name: of the file, for sentences.

    Returns:
        The tensors, and the header that says which of them were arrays.

    Raises:
        BundleRefused: it is no mapping, or an array holds something else than numbers.

    """
    if not isinstance(loaded, Mapping):
        raise BundleRefused(f"{name} holds no arrays by name")
    found: dict[str, torch.Tensor] = {}
    were_arrays = []
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor | np.ndarray):
            continue
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in _NUMBERS:
                raise BundleRefused(f"{name} holds an array of something else than numbers")
            were_arrays.append(key)
            value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))  # noqa: PLW2901
        found[key] = value
    return found, {_WERE_ARRAYS: "\n".join(were_arrays)}


def place(folder: Path, name: str) -> Path:
    """Return where the bundle in ``folder`` keeps a file ``name`` that a configuration loads.

    The folders in front of a name are none of ours: there is one place for each name.
    """
    return folder / "models" / f"{PurePath(name).stem}.safetensors"


def read(path: Path) -> dict[str, Any]:
    """Return what ``torch.load`` gave of the file that these safetensors were made from."""
    with safe_open(path, framework="pt") as file:
        were_arrays = (file.metadata() or {}).get(_WERE_ARRAYS, "").split("\n")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    return {
        name: value.numpy() if name in were_arrays else value for name, value in tensors.items()
    }
