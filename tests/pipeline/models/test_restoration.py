"""Restored images hold the values, the unit and the place of what they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from pipeline.errors import ModelMismatch
from pipeline.models import bundle, networks, predictors
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.devices import Device
from pipeline.models.restoration import RestorationPredictor
from pipeline.models.spec import InputSpec, Kind, ModelSpec
from pipeline.results import DerivedImage, Prediction
from pipeline.volume import Image, Input, Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

OBLIQUE = np.linalg.qr(np.array([[0.1, 0.2, 1], [0.2, 1, -0.1], [1, -0.2, 0.1]]))[0]


class Stretch(nn.Module):
    """Answers with its input, of ``scale`` times as many voxels."""

    def __init__(self, scale: int = 1, mode: str = "nearest") -> None:
        super().__init__()
        self.scale, self.mode = scale, mode

    def forward(self, windows: Tensor) -> Tensor:
        return F.interpolate(windows, scale_factor=self.scale, mode=self.mode)


class Nothing(nn.Module):
    def forward(self, windows: Tensor) -> Tensor:
        return torch.zeros_like(windows[:, :1])


class Constant(nn.Module):
    def forward(self, windows: Tensor) -> Tensor:
        return torch.full_like(windows, 0.1)


def restore(image: Input, network: nn.Module, **changes: Any) -> Prediction:
    asked = ("scale", "residual", "batch", "beside")
    options = {key: changes.pop(key) for key in asked if key in changes}
    stated: dict[str, Any] = {
        "modalities": ("CT", "US"),
        "spatial_dims": 3,
        "window": (-1000.0, 1000.0),
        "size": (8, 8, 8),
        "overlap": 0.5,
    }
    spec = ModelSpec(
        name="stretch",
        version="1",
        kind=Kind.RESTORATION,
        title="Finer",
        input=InputSpec(**{**stated, **changes}),
        labels=(),
        network="UNet",
        options=options,
    )
    return RestorationPredictor(spec, network, Device()).predict(image, checkpoint=go_on)


def derived(image: Input, network: nn.Module, **changes: Any) -> DerivedImage:
    (found,) = restore(image, network, **changes).derived
    return found


def oblique(stored: Any) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = OBLIQUE * np.array([2.5, 0.7, 0.9])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return Volume(stored=stored, affine=affine, unit="HU")


def places(shape: tuple[int, ...], affine: Any) -> Any:
    """Return where every voxel lies, (*shape, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("orientation", [None, "SPL", "RAS", "LIP"])
def test_what_is_left_alone_comes_back_as_it_was(orientation: str | None) -> None:
    image = oblique(tiny.volume().stored)
    found = derived(image, Stretch(), orientation=orientation)
    np.testing.assert_allclose(found.values, image.stored, atol=1e-3)
    np.testing.assert_allclose(found.affine, image.affine, atol=1e-9)


@pytest.mark.parametrize("orientation", [None, "RAS", "LIP"])
@pytest.mark.parametrize("scale", [2, 3])
def test_finer_voxels_share_the_place_of_the_one_they_come_from(
    orientation: str | None, scale: int
) -> None:
    image = oblique(tiny.volume((5, 9, 8)).stored)
    found = derived(image, Stretch(scale), scale=scale, orientation=orientation)
    repeated = image.stored
    for axis in range(3):
        repeated = repeated.repeat(scale, axis)
    np.testing.assert_allclose(found.values, repeated, atol=1e-3)
    assert found.affine is not None
    ours = (np.argwhere(np.ones(found.values.shape)) + 0.5) / scale - 0.5
    np.testing.assert_allclose(
        places(found.values.shape, found.affine).reshape(-1, 3), image.to_patient(ours), atol=1e-9
    )


@pytest.mark.parametrize("orientation", [None, "RAS", "PIL"])
@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
def test_values_that_rise_evenly_in_the_patient_still_do_so_when_finer(
    orientation: str | None, spacing: tuple[float, ...] | None
) -> None:
    rise = np.array([3.0, -2.0, 5.0])
    shape = (10, 24, 20)
    flat = oblique(np.zeros(shape, np.float32))
    image = oblique((places(shape, flat.affine) @ rise).astype(np.float32))
    found = derived(
        image,
        Stretch(2, "trilinear"),
        scale=2,
        orientation=orientation,
        spacing=spacing,
        size=(24, 24, 24),
    )
    truth = places(found.values.shape, found.affine) @ rise
    # borders are held, within them the field is linear
    inside = (slice(3, -6),) * 3
    np.testing.assert_allclose(found.values[inside], truth[inside], atol=0.05)


def test_a_network_of_two_axes_refines_the_slices_of_a_volume_and_not_their_number() -> None:
    image = oblique(tiny.volume((5, 9, 8)).stored)
    found = derived(image, Stretch(2), scale=2, spatial_dims=2, size=(8, 8))
    np.testing.assert_allclose(found.values, image.stored.repeat(2, 1).repeat(2, 2), atol=1e-3)
    assert found.affine is not None
    spacing = Volume(stored=found.values, affine=found.affine).spacing
    assert spacing == pytest.approx((2.5, 0.35, 0.45))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_restored_frame_by_frame_in_their_own_values(channels: int) -> None:
    shape = (3, 9, 8, 3) if channels == 3 else (3, 9, 8)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    image = Image(pixels=pixels if channels == 3 else pixels.astype(np.float32))
    found = derived(
        image, Stretch(2), scale=2, spatial_dims=2, size=(8, 8), channels=channels, window=(0, 255)
    )
    np.testing.assert_allclose(found.values, pixels.repeat(2, 1).repeat(2, 2), atol=1e-3)
    assert found.affine is None


class Last(nn.Module):
    """Answers with the last plane that it is shown of each channel, of five."""

    def forward(self, windows: Tensor) -> Tensor:
        return windows[:, 4::5]


def test_a_network_sees_the_slices_beside_the_one_it_restores_and_the_last_for_what_is_beyond() -> (
    None
):
    image = oblique(tiny.volume((5, 9, 20)).stored)
    found = derived(image, Last(), spatial_dims=2, size=(8, 8), beside=2)
    np.testing.assert_allclose(found.values, image.stored[[2, 3, 4, 4, 4]], atol=1e-3)


def test_a_network_sees_the_frames_beside_the_one_it_restores_in_all_their_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 8, 3)).astype(np.uint8)
    found = derived(
        Image(pixels=pixels),
        Last(),
        spatial_dims=2,
        size=(8, 8),
        channels=3,
        window=(0, 255),
        beside=2,
    )
    np.testing.assert_allclose(found.values, pixels[[2, 3, 3, 3]], atol=1e-3)


def test_a_residual_is_added_to_the_slice_in_the_middle() -> None:
    image = oblique(tiny.volume((5, 9, 8)).stored)
    found = derived(image, Nothing(), spatial_dims=2, size=(8, 8), beside=1, residual=True)
    np.testing.assert_allclose(found.values, image.stored, atol=1e-3)


def test_a_residual_is_added_to_the_input_in_its_unit() -> None:
    image = tiny.volume()
    found = derived(image, Constant(), residual=True)
    np.testing.assert_allclose(found.values, image.stored + 0.1 * 2000, atol=1e-2)


def test_without_a_window_values_come_back_between_the_percentiles() -> None:
    image = tiny.volume(unit="")
    found = derived(image, Stretch(), window=None, percentiles=(0.0, 100.0))
    # the lowest value alone is background
    above = image.stored > np.sort(np.unique(image.stored))[1]
    np.testing.assert_allclose(found.values[above], image.stored[above], atol=1e-2)


def test_a_smaller_batch_is_tried_when_memory_runs_out() -> None:
    class Hungry(Stretch):
        def forward(self, windows: Tensor) -> Tensor:
            if len(windows) > 1:
                raise MemoryError
            return super().forward(windows)

    image = tiny.volume()
    found = restore(image, Hungry(), batch=4)
    np.testing.assert_allclose(found.derived[0].values, image.stored, atol=1e-3)
    assert found.options["batch"] == 1
    assert [warning.count("memory ran out") for warning in found.warnings] == [1, 1]


def test_an_answer_of_another_size_or_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="were answered with"):
        restore(tiny.volume(), Stretch(2))

    class Broken(nn.Module):
        def forward(self, windows: Tensor) -> Tensor:
            return windows / 0

    with pytest.raises(ModelMismatch, match="not finite"):
        restore(tiny.volume(), Broken())


SUBPIXEL: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "scale": 3, "features": [4]}


def subpixel_bundle(folder: Path, **options: Any) -> Bundle:
    """Write a network that adds nothing to its input, stretched to three times its size."""
    arguments = {"spatial_dims": 2, **SUBPIXEL}
    nothing = {
        name: torch.zeros_like(value)
        for name, value in networks.build("SubpixelNet", arguments).state_dict().items()
    }
    spec = ModelSpec(
        name="finer",
        version="1",
        kind=Kind.RESTORATION,
        title="Finer",
        input=InputSpec(
            modalities=("CT",), spatial_dims=2, window=(-1000.0, 1000.0), size=(16, 16)
        ),
        labels=(),
        network="SubpixelNet",
        network_arguments=arguments,
        options={"residual": True, **options},
    )
    return bundle.write(folder / "finer", spec, weights=nothing, card="# Finer\n")


def test_a_bundle_of_higher_resolution_answers_as_its_network_does(tmp_path: Path) -> None:
    opened = predictors.open(subpixel_bundle(tmp_path, scale=3), device=Device())
    image = tiny.volume(stored=np.full((4, 20, 18), 120, np.int16))
    (found,) = opened.predict(image, checkpoint=go_on).derived
    assert found.values.shape == (4, 60, 54)
    np.testing.assert_allclose(found.values, 120, atol=1e-2)


def test_a_bundle_that_states_another_scale_than_its_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="scale must be 3"):
        subpixel_bundle(tmp_path, scale=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": 3, "beside": 1}, "in_channels is 1, input and options ask for 3"),
        ({"scale": 3, "beside": "1"}, "in_channels is 1, input and options ask for 3"),
        ({"scale": 3, "beside": "all"}, "options: beside: Input should be a valid integer"),
        ({"scale": 3, "beside": 9}, "options: beside: Input should be less than or equal to 8"),
    ],
)
def test_a_bundle_whose_network_sees_other_planes_than_it_states_is_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleRefused, match=said):
        subpixel_bundle(tmp_path, **options)


OURS: dict[str, dict[str, Any]] = {
    "EDSR": {"scale": 4, "features": 4, "blocks": 1},
    "RCAN": {"scale": 3, "features": 4, "groups": 1, "blocks": 1, "reduction": 2},
    "SRResNet": {"scale": 2, "features": 4, "blocks": 1},
    "DenoisingAutoEncoder": {"features": [4, 8]},
}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", OURS)
def test_a_bundle_that_names_a_network_of_ours_answers_as_that_network(
    tmp_path: Path, name: str, spatial_dims: int
) -> None:
    arguments = {"spatial_dims": spatial_dims, "in_channels": 1, "out_channels": 1, **OURS[name]}
    torch.manual_seed(0)
    network = networks.build(name, arguments).eval()
    scale = arguments.get("scale", 1)
    size = (8, 8, 8)[:spatial_dims]
    spec = ModelSpec(
        name="ours",
        version="1",
        kind=Kind.RESTORATION,
        title="Ours",
        input=InputSpec(
            modalities=("CT",), spatial_dims=spatial_dims, window=(-1000.0, 1000.0), size=size
        ),
        labels=(),
        network=name,
        network_arguments=arguments,
        options={"scale": scale},
    )
    written = bundle.write(tmp_path / "ours", spec, weights=network.state_dict(), card="# Ours\n")
    image = tiny.volume((2 if spatial_dims == 2 else 8, 8, 8))
    opened = predictors.open(written, device=Device())
    (found,) = opened.predict(image, checkpoint=go_on).derived
    seen = torch.from_numpy((image.stored.astype(np.float32) + 1000) / 2000)
    # a network of two axes sees one slice after the other
    seen = seen[:, None] if spatial_dims == 2 else seen[None, None]
    with torch.no_grad():
        answer = network(seen).squeeze(1) if spatial_dims == 2 else network(seen)[0, 0]
    assert found.values.shape == tuple(answer.shape)
    np.testing.assert_allclose(found.values, answer.numpy() * 2000 - 1000, atol=0.05)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_subpixel_network_answers_with_scale_times_as_many_voxels(spatial_dims: int) -> None:
    built = networks.build("SubpixelNet", {"spatial_dims": spatial_dims, **SUBPIXEL})
    size = (5, 6, 7)[:spatial_dims]
    answer = built(torch.zeros(2, 1, *size))
    assert tuple(answer.shape) == (2, 1, *(3 * extent for extent in size))
