"""Memory beside the heap: zeros, copies, and back to the system when nobody holds them."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import pytest
import torch

from pipeline.models import lasting


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5, 7), (4,), (2, 0, 3)])
def test_zeros_can_be_written_to(shape: Sequence[int], dtype: torch.dtype) -> None:
    values = lasting.zeros(shape, dtype)
    assert torch.equal(values, torch.zeros(*shape, dtype=dtype))
    assert torch.equal(values.add_(3), torch.full(tuple(shape), 3, dtype=dtype))


def test_a_copy_is_contiguous_and_by_itself() -> None:
    turned = torch.arange(24.0).view(2, 3, 4).permute(2, 0, 1)
    copied = lasting.copy(turned)
    assert copied.is_contiguous()
    assert torch.equal(copied, turned)
    copied.zero_()
    assert float(turned.sum()) == 23 * 24 / 2


def test_memory_goes_back_with_the_last_view(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(mmap.mmap):
        living = 0

        def __init__(self, *_: object) -> None:
            Watched.living += 1

        def __del__(self) -> None:
            Watched.living -= 1

    monkeypatch.setattr(mmap, "mmap", Watched)
    values = lasting.zeros((64, 64))
    view = values[3:5].numpy()
    assert Watched.living == 1
    del values
    view[:] = 1
    assert Watched.living == 1
    del view
    assert Watched.living == 0


def test_memory_that_there_is_not_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(MemoryError, match="Cannot allocate memory"):
        lasting.zeros((2, 2))
