"""Results return to the grid they were read on, however it lies in the patient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from pipeline.models.devices import Device
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import InputSpec
from pipeline.volume import Volume
from tests.pipeline.models import tiny

SHAPE = (22, 40, 34)


class Bright(nn.Module):
    """Label 1 where the middle of the window is passed."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([0.5 - image, image - 0.5], dim=1)


def _affine(seed: int) -> NDArray[np.float64]:
    """Return slices along their normal, turned at random or along an axis, pixels not square."""
    random = np.random.default_rng(seed)
    turned = Rotation.random(random_state=random).as_matrix()
    if seed % 2:  # the nearest of the 24 ways along the axes
        turned = np.round(Rotation.create_group("O").as_matrix()[seed % 24])
    affine = np.eye(4)
    steps = random.uniform([2.0, 0.7, 0.7], [4.0, 1.4, 1.4])
    row, column = turned[0], turned[1]
    affine[:3, :3] = np.stack([np.cross(row, column), column, row], axis=1) * steps
    affine[:3, 3] = random.uniform(-300, 300, 3)
    return affine


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SPL", "AIR"])
@pytest.mark.parametrize("seed", range(12))
def test_a_ball_is_found_where_it_is(seed: int, orientation: str) -> None:
    affine = _affine(seed)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    centre = affine[:3, :3] @ np.array([9.3, 23.6, 15.2]) + affine[:3, 3]
    depth = 9.0 - np.linalg.norm(places - centre, axis=-1)
    volume = Volume(stored=(100 * np.clip(depth, -2, 2)).astype(np.int16), affine=affine, unit="HU")
    spec = tiny.unet_spec(
        input=InputSpec(
            modalities=("CT",),
            spatial_dims=3,
            orientation=orientation,
            spacing=(1.5, 1.2, 1.8),
            window=(-200.0, 200.0),
            size=(32, 32, 32),
        )
    )
    found = SegmentationPredictor(spec, Bright(), Device()).predict(volume, checkpoint=tiny.go_on)
    assert found.label_map is not None
    assert found.label_map.shape == SHAPE
    truth = depth > 0
    overlap = 2 * (found.label_map & truth).sum() / (found.label_map.sum() + truth.sum())
    assert overlap > 0.93
    (ball,) = found.findings
    np.testing.assert_allclose(ball.centroid, centre, atol=0.35)  # type: ignore[union-attr, arg-type]
