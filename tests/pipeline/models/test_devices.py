"""Vector math is settled by one thread, before two of them ask for it together."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.models.devices import Device, settle_vector_math
from pipeline.training.loop import make_deterministic

_LIBRARY = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"


class _Calls(TorchDispatchMode):
    """How many numbers torch was first asked to compute each function of, by its own names."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple[str, torch.dtype], int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if args and isinstance(args[0], torch.Tensor):
            key = (func.overloadpacket.__name__, args[0].dtype)
            self.seen.setdefault(key, args[0].numel())
        return func(*args, **(kwargs or {}))


@pytest.fixture(name="vector_math")
def _vector_math() -> set[str]:
    """The functions that the library of torch calls of MKL's, by torch's names."""
    if not torch.backends.mkl.is_available() or not _LIBRARY.exists():
        pytest.skip("this torch has no MKL")
    with _LIBRARY.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        names = re.findall(rb"\0vm[sd]([A-Z][A-Za-z0-9]+)(?=\0)", held)
    return {name.decode().lower().replace("ln", "log") for name in names}


def test_every_function_that_torch_takes_from_mkl_is_first_called_on_one_number(
    vector_math: set[str],
) -> None:
    with _Calls() as calls:
        settle_vector_math.__wrapped__()
    assert calls.seen == {
        (name, kind): 1 for name in vector_math for kind in (torch.float32, torch.float64)
    }


@pytest.mark.parametrize("begin", [Device, lambda: make_deterministic(1)], ids=["use", "training"])
def test_vector_math_is_settled_before(begin: Any) -> None:
    settle_vector_math.cache_clear()
    begin()
    assert settle_vector_math.cache_info().currsize == 1
