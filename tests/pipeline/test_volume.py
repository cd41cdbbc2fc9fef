from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Regridding, Volume
from tests.pipeline.dicom.segs import made_volume

STRAIGHT = ((0.0, 0.0),) * 3


def _refusal(**changes: Any) -> Reason:
    with pytest.raises(StudyRejected) as refused:
        replace(made_volume((3, 4, 5)), **changes)
    return refused.value.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stored": np.zeros((3, 4), np.int16)}, Reason.SERIES_GEOMETRY_INVALID),
        ({"stored": np.zeros((3, 0, 5), np.int16)}, Reason.SERIES_GEOMETRY_INVALID),
        ({"stored": np.zeros((4, 4, 5), np.int16)}, Reason.SERIES_GEOMETRY_INVALID),
        ({"stored": np.zeros((3, 4, 5), bool)}, Reason.PIXELS_UNSUPPORTED),
        ({"stored": np.zeros((3, 4, 5), complex)}, Reason.PIXELS_UNSUPPORTED),
        ({"stored": np.zeros((3, 4, 5), object)}, Reason.PIXELS_UNSUPPORTED),
        ({"stored": np.zeros((3, 4, 5), ">i2")}, Reason.PIXELS_UNSUPPORTED),
        ({"slope": 0.0}, Reason.PIXELS_RESCALE_NOT_FINITE),
        ({"slope": float("nan")}, Reason.PIXELS_RESCALE_NOT_FINITE),
        ({"intercept": float("inf")}, Reason.PIXELS_RESCALE_NOT_FINITE),
        ({"affine": np.eye(3)}, Reason.SERIES_GEOMETRY_INVALID),
        ({"affine": np.full((4, 4), np.nan)}, Reason.SERIES_GEOMETRY_INVALID),
        ({"affine": np.diag([1.0, 1.0, 0.0, 1.0])}, Reason.SERIES_GEOMETRY_INVALID),
        ({"affine": np.eye(4) + np.eye(4, k=1) * 0.3}, Reason.SERIES_GANTRY_TILT),
    ],
)
def test_a_volume_that_is_half_valid_is_none(changes: dict[str, Any], reason: Reason) -> None:
    assert _refusal(**changes) is reason


@pytest.mark.parametrize(
    "way",
    [
        {"shape": (3, 4, 5), "slices": (0, 1, 3), "shifts": STRAIGHT},
        {"shape": (3, 4, 5), "slices": (0, 1, 2), "shifts": ((0.0, 0.0), (0.0, 0.5), (0.0, 1.0))},
        {"shape": (3, 4, 5), "slices": (0, 1, 1), "shifts": STRAIGHT},
        {"shape": (3, 4, 5), "slices": (2, 1, 0), "shifts": STRAIGHT},
        {"shape": (3, 4, 5), "slices": (0, 1), "shifts": STRAIGHT},
        {"shape": (3, 4, 5), "slices": (0, 1, 2), "shifts": ((0.0, -1.0),) * 3},
        {"shape": (3, 4, 5), "slices": (0, 1, 2), "shifts": ((0.0, float("nan")),) * 3},
        {"shape": (2, 4, 5), "slices": (0, 2), "shifts": STRAIGHT[:2]},
    ],
)
def test_a_way_back_leads_from_the_grid_to_every_slice(way: dict[str, Any]) -> None:
    with pytest.raises(StudyRejected) as refused:
        replace(made_volume((3, 4, 5)), regridding=Regridding(**way))
    assert refused.value.reason is Reason.SERIES_GEOMETRY_INVALID


def test_a_header_has_an_instance_for_every_slice() -> None:
    header = made_volume((3, 4, 5)).header
    assert header is not None
    fewer = replace(header, instances=header.instances[:2])
    assert _refusal(header=fewer) is Reason.SERIES_GEOMETRY_INVALID


def test_a_view_that_runs_backwards_becomes_plain_voxels() -> None:
    grid = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    volume = Volume(stored=grid[::-1, :, ::-1], affine=np.eye(4))
    assert volume.stored.flags.c_contiguous
    np.testing.assert_array_equal(volume.stored, grid[::-1, :, ::-1])
    plain = np.zeros((2, 2, 2), np.uint8)
    assert Volume(stored=plain, affine=np.eye(4)).stored is plain
