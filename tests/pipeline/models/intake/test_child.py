"""The process that reads weights may die, hang or be lied to: one refusal, and nothing ran."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.models.bundle import BundleRefused
from pipeline.models.intake import child
from pipeline.models.intake.brought import IntakeLimits
from pipeline.models.intake.weights import Errand
from tests.pipeline.models.intake.hostile import Harmful

LIMITS = IntakeLimits()


def errand(path: Path) -> Errand:
    return Errand(
        path=path,
        name="models/model.pt",
        target=path.parent / "made.safetensors",
        key=None,
        largest_bytes=2**34,
    )


def test_weights_are_read_in_another_process(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2, 3)}, tmp_path / "model.pt")
    assert child.convert(errand(tmp_path / "model.pt"), LIMITS) == {"a": [2, 3]}
    assert (tmp_path / "made.safetensors").exists()


def test_a_refusal_comes_back_as_its_faults(tmp_path: Path) -> None:
    torch.save({"a": Harmful(tmp_path / "ran")}, tmp_path / "model.pt")
    with pytest.raises(BundleRefused, match=r"asks for posix\.system"):
        child.convert(errand(tmp_path / "model.pt"), LIMITS)
    assert not (tmp_path / "ran").exists()


def test_more_memory_than_is_allowed_is_a_refusal(tmp_path: Path) -> None:
    # a gigabyte out of a few bytes: one value, and strides of nought
    torch.save({"a": torch.zeros(1).expand(2**28)}, tmp_path / "model.pt")
    with pytest.raises(BundleRefused, match="memory"):
        child.convert(errand(tmp_path / "model.pt"), IntakeLimits(memory_bytes=2**28))


def test_a_process_that_ends_without_an_answer_is_a_refusal(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pt")
    strange = errand(tmp_path / "model.pt")
    (tmp_path / "made.safetensors").mkdir()  # what nobody reckoned with, in the child
    with pytest.raises(BundleRefused, match="more memory or time than is allowed, or is damaged"):
        child.convert(strange, LIMITS)
