"""What is left on the disk by a checkpoint that could not be written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from pipeline.training import loop
from tests import quick_learning
from tests.quick_learning import Line


def test_a_checkpoint_that_finds_no_room_leaves_the_room_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(content: object, file: IO[Any]) -> None:
        del content
        file.write(bytes(2**20))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(OSError, match="No space"):
        loop.train(Line(), quick_learning.recipe_of({}), "d", quick_learning.controls(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_a_killed_attempt_half_wrote_goes_with_the_next_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.1.partial").write_bytes(b"half")
    (tmp_path / "other.1.partial").write_bytes(b"not ours")
    loop.train(Line(), quick_learning.recipe_of({}), "d", quick_learning.controls(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint", "other.1.partial"}
