"""Fixtures of the model tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.models import bundle, networks
from pipeline.models.bundle import Bundle
from tests.pipeline.models import tiny


@pytest.fixture
def write_unet(tmp_path: Path) -> Callable[..., Bundle]:
    """Return a function that writes a tiny U-Net bundle; each seed has weights of its own."""

    def write(seed: int = 0, **changes: Any) -> Bundle:
        torch.manual_seed(seed)
        weights = networks.build("UNet", tiny.UNET).state_dict()
        spec = tiny.unet_spec(**changes)
        return bundle.write(tmp_path / f"tiny-{seed}", spec, weights=weights, card="# Tiny\n")

    return write
