"""The speed path must give MONAI's answer: same grid, same windows, same labels."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscreted,
    Compose,
    CropForegroundd,
    Invertd,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)
from numpy.typing import NDArray

from pipeline.models import labels, preprocess, sliding
from pipeline.models.spec import InputSpec
from pipeline.models.stitching import Sweep
from pipeline.volume import Volume

WINDOW = (-175.0, 250.0)
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


def random_net(classes: int = 4) -> UNet:
    torch.manual_seed(7)
    return UNet(3, 1, classes, (8, 16, 32), (2, 2), num_res_units=1, norm="batch").eval()


def smooth(shape: tuple[int, ...], seed: int) -> NDArray[np.int16]:
    """Return blobs of HU in air: a body that does not fill the volume."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, 4, 5, 5, generator=generator) * 300
    field = torch.nn.functional.interpolate(coarse, shape, mode="trilinear")[0, 0].numpy()
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    body = sum((axis / half) ** 2 for axis, half in zip(grid, (0.9, 0.6, 0.7), strict=True)) < 1
    return np.where(body, field, -1000).astype(np.int16)


def rotation(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
        turned = turned @ turn
    return turned


def affine(
    spacing: tuple[float, float, float],
    *,
    degrees: tuple[float, float, float] = (0, 0, 0),
    axes: str = "SPL",
) -> NDArray[np.float64]:
    """Return an affine whose (slice, row, column) axes point to the letters of ``axes`` (LPS)."""
    directions = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    matrix = np.eye(4)
    cosines = np.zeros((3, 3))
    for index, letter in enumerate(axes):
        row, sign = directions[letter]
        cosines[row, index] = sign
    matrix[:3, :3] = rotation(degrees) @ cosines * np.asarray(spacing)
    matrix[:3, 3] = (-31.7, 12.3, 401.1)
    return matrix


def monai_chain(spacing: tuple[float, ...], orientation: str) -> Compose:
    return Compose(
        [
            Orientationd("image", axcodes=orientation, labels=None),
            Spacingd("image", pixdim=spacing, mode="bilinear"),
            ScaleIntensityRanged("image", *WINDOW, 0.0, 1.0, clip=True),
            CropForegroundd("image", source_key="image"),
        ]
    )


def monai_image(volume: Volume) -> dict[str, Any]:
    return {"image": MetaTensor(torch.from_numpy(volume.values())[None], TO_RAS @ volume.affine)}


GEOMETRIES = [
    pytest.param((40, 60, 56), affine((2.5, 0.78, 0.78)), id="anisotropic axial"),
    pytest.param((40, 60, 56), affine((2.5, 0.75, 0.75)), id="spacing that divides evenly"),
    pytest.param((33, 48, 41), affine((3.0, 1.1, 0.9), degrees=(12, -20, 9)), id="oblique"),
    pytest.param((40, 60, 56), affine((2.0, 1.2, 1.2), axes="IAR"), id="flipped on all axes"),
    pytest.param((36, 50, 44), affine((2.2, 1.3, 1.3), axes="RIP"), id="sagittal"),
    pytest.param((36, 50, 44), affine((1.5, 1.5, 1.5), axes="AIL"), id="coronal, spacing as is"),
]


@pytest.mark.parametrize(("shape", "place"), GEOMETRIES)
def test_the_grid_and_its_values_are_monais(shape: Any, place: NDArray[np.float64]) -> None:
    volume = Volume(stored=smooth(shape, 3), affine=place, unit="HU")
    spec = InputSpec(
        modalities=("CT",),
        spatial_dims=3,
        orientation="RAS",
        spacing=(1.5, 1.5, 1.5),
        window=WINDOW,
        size=(32, 32, 32),
    )
    expected = monai_chain((1.5, 1.5, 1.5), "RAS")(monai_image(volume))["image"]
    prepared = preprocess.prepare(volume, spec, crop_foreground=True)
    assert tuple(prepared.image.shape) == tuple(expected.shape[1:])
    torch.testing.assert_close(prepared.image, expected[0].as_tensor(), atol=2e-4, rtol=0)


@pytest.mark.parametrize(("shape", "place"), GEOMETRIES)
def test_labels_are_those_of_invertd_and_argmax(shape: Any, place: NDArray[np.float64]) -> None:
    volume = Volume(stored=smooth(shape, 5), affine=place, unit="HU")
    net = random_net()
    chain = monai_chain((1.5, 1.5, 1.5), "RAS")
    batch = list_data_collate([chain(monai_image(volume))])
    inferer = SlidingWindowInferer((32, 32, 32), 1, 0.25, mode="gaussian")
    with torch.no_grad():
        batch["pred"] = inferer(batch["image"], net)
    post = Compose(
        [
            Invertd("pred", transform=chain, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", argmax=True),
        ]
    )
    expected = post(decollate_batch(batch)[0])["pred"][0].numpy().astype(np.uint8)

    spec = InputSpec(
        modalities=("CT",),
        spatial_dims=3,
        orientation="RAS",
        spacing=(1.5, 1.5, 1.5),
        window=WINDOW,
        size=(32, 32, 32),
    )
    prepared = preprocess.prepare(volume, spec, crop_foreground=True)
    plan = sliding.Plan(size=(32, 32, 32), overlap=0.25, batch=2, device=torch.device("cpu"))
    stitched = sliding.run(net, prepared.image[None], plan, checkpoint=go_on)
    found = labels.to_source(stitched.logits, prepared.grid, checkpoint=go_on)
    assert found.shape == volume.stored.shape
    assert len(np.unique(found)) > 1
    assert (found == expected).mean() >= 0.9999


@pytest.mark.parametrize(
    ("shape", "size", "overlap", "batch"),
    [
        ((37, 41, 53), (16, 24, 16), 0.25, 2),
        ((16, 20, 70), (16, 24, 32), 0.5, 3),
        ((9, 11, 13), (16, 16, 16), 0.25, 4),
        ((40, 33, 17), (16, 16, 8), 0.0, 1),
        ((33, 33, 33), (32, 32, 32), 0.6, 2),
    ],
)
def test_stitching_is_that_of_the_sliding_window_inferer(
    shape: tuple[int, ...], size: tuple[int, ...], overlap: float, batch: int
) -> None:
    torch.manual_seed(1)
    image = torch.rand(1, *shape)
    net = torch.nn.Conv3d(1, 3, 3, padding=1).eval()
    with torch.no_grad():
        expected = SlidingWindowInferer(size, 1, overlap, mode="gaussian")(image[None], net)[0]
    plan = sliding.Plan(size=size, overlap=overlap, batch=batch, device=torch.device("cpu"))
    stitched = sliding.run(net, image, plan, checkpoint=go_on)
    torch.testing.assert_close(stitched.logits, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("classes", [2, 25, 105])
@pytest.mark.parametrize("room", [sys.maxsize, 0], ids=["whole", "in blocks"])
def test_labels_of_many_classes_are_those_of_invertd_and_argmax(classes: int, room: int) -> None:
    volume = Volume(stored=smooth((20, 31, 28), 9), affine=affine((2.5, 1.1, 1.2)), unit="HU")
    chain = monai_chain((1.7, 1.6, 1.5), "RAS")
    batch = list_data_collate([chain(monai_image(volume))])
    grid_size = tuple(batch["image"].shape[2:])
    generator = torch.Generator().manual_seed(classes)
    coarse = torch.randn(1, classes, 4, 4, 4, generator=generator)
    logits = torch.nn.functional.interpolate(coarse, grid_size, mode="trilinear")
    post = Compose(
        [
            Invertd("pred", transform=chain, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", argmax=True),
        ]
    )
    batch["pred"] = 0 * batch["image"] + logits  # as an inferer answers: with the image's history
    expected = post(decollate_batch(batch)[0])["pred"][0].numpy().astype(np.uint8)

    spec = InputSpec(
        modalities=("CT",),
        spatial_dims=3,
        orientation="RAS",
        spacing=(1.7, 1.6, 1.5),
        window=WINDOW,
    )
    grid = preprocess.prepare(volume, spec, crop_foreground=True).grid
    assert grid.shape == grid_size
    canvas = labels.Canvas(grid, checkpoint=go_on)
    sweep = Sweep(axes=(2, 1, 0), room=room, finish=canvas.fill)
    plan = sliding.Plan(size=(8, 8, 8), overlap=0.25, batch=4, device=torch.device("cpu"))
    # a network that answers each window with its part of the known logits
    places = torch.arange(logits[0, 0].numel(), dtype=torch.float32).view(1, *grid_size)

    class Known(torch.nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return logits[0].flatten(1)[:, windows[:, 0].long()].transpose(0, 1)

    sliding.pass_over(Known(), places, plan, sweep=sweep, checkpoint=go_on)
    assert len(np.unique(expected)) > min(classes, 20) / 2
    assert (canvas.labels == expected).mean() >= 0.9999
