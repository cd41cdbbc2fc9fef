"""What is written as DICOM comes back where it was: phantom, files, reader."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.phantoms import Phantom, chest, head, write_series
from pipeline.phantoms.anatomy import Triple
from pipeline.phantoms.chest import DEFAULT as CHEST
from pipeline.phantoms.head import DEFAULT as HEAD
from tests.pipeline.dicom import made_series as series

_ROTATIONS = [(0.0, 0.0, 0.0), (11.0, -23.0, 40.0), (90.0, 0.0, 90.0), (0.0, 180.0, 0.0)]


def _chest(rotation: Triple) -> Phantom:
    return chest(dataclasses.replace(CHEST, shape=(12, 24, 20), rotation=rotation, lesions=0))


def _head(rotation: Triple) -> Phantom:
    return head(dataclasses.replace(HEAD, shape=(12, 24, 20), rotation=rotation, lesions=0))


@pytest.mark.parametrize("rotation", _ROTATIONS)
@pytest.mark.parametrize("make", [_chest, _head])
def test_a_phantom_comes_back_as_it_was(
    tmp_path: Path, make: Callable[[Triple], Phantom], rotation: Triple
) -> None:
    phantom = make(rotation)
    write_series(phantom, tmp_path)
    volume = series.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.stored, phantom.volume.stored)
    np.testing.assert_allclose(volume.affine, phantom.volume.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.values(), phantom.volume.values())
