"""Maps of networks whose reasons are known."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.asking import Explain, Method
from pipeline.errors import Interrupted, ModelMismatch, OutOfMemory
from pipeline.models import explaining
from pipeline.models.averaging import Averaged, views
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.networks.attention_mil import AttentionMIL
from pipeline.networks.cnn_lstm import CNNLSTM
from pipeline.volume import Image, Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

#: those that any network answers
METHODS: tuple[Method, ...] = tuple(one for one in get_args(Method) if one != "attention")


class Square(nn.Module):
    """Says "bright" by the mean of a channel that lights up exactly where the image is bright.

    Another channel lights up where it is dark, and counts for "dark".
    """

    def __init__(self, axes: int) -> None:
        super().__init__()
        make = nn.Conv2d if axes == 2 else nn.Conv3d
        self.conv = make(1, 2, 1).requires_grad_(requires_grad=False)
        self.conv.weight.copy_(torch.tensor([-1.0, 1.0]).view(self.conv.weight.shape))
        self.conv.bias.copy_(torch.tensor([0.5, -0.5]))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return 20 * self.relu(self.conv(images)).flatten(2).mean(2)


def scene(axes: int) -> tuple[Tensor, Tensor]:
    """Return an image with a bright square, and where that is."""
    image = torch.zeros(1, 1, *[16] * axes)
    place = (0, 0, *[slice(4, 8)] * axes)
    image[place] = 1.0
    return image, image[0, 0] > 0


def found(
    network: nn.Module, image: Tensor, method: Method, label: int = 1, layer: str | None = None
) -> Tensor:
    asked = Explain(method=method, layer=layer)
    (one,) = explaining.explain(network.eval(), image, label, asked, checkpoint=go_on)
    return one


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_activation_maps_are_the_channel_that_lights_up(axes: int, method: Method) -> None:
    image, inside = scene(axes)
    network = Square(axes)
    torch.testing.assert_close(found(network, image, method, layer="relu"), inside.float())
    # what the convolution gives is below 0 outside, which counts as nothing
    torch.testing.assert_close(found(network, image, method), inside.float())
    torch.testing.assert_close(found(network, image, method, label=0), (~inside).float())


class FrameByFrame(nn.Module):
    """Answers for each frame of a sequence by itself, and says the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = Square(2)

    def forward(self, sequences: Tensor) -> Tensor:
        count, frames = len(sequences), sequences.transpose(1, 2).flatten(0, 1)
        return self.frames(frames).view(count, -1, 2).mean(1)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++", "feature-maps"])
def test_of_a_sequence_each_frame_has_its_own_map(method: Method) -> None:
    image, inside = scene(3)
    given = found(FrameByFrame(), image, method, layer="frames.relu")
    # everywhere one of the two channels gives a half
    lit = torch.full_like(given, 0.25) if method == "feature-maps" else inside.float()
    torch.testing.assert_close(given, lit)


def test_a_network_of_sequences_is_explained_by_its_last_convolution() -> None:
    torch.manual_seed(0)
    network = CNNLSTM(spatial_dims=3, in_channels=1, out_channels=2, features=[4, 8], hidden=8)
    image = torch.rand(1, 1, 6, 16, 12)
    image[:, :, 3] = 0.0
    given = found(network, image, "grad-cam")
    assert given.shape == (6, 16, 12)
    assert float(given.max()) == 1.0


@pytest.mark.parametrize("axes", [2, 3])
def test_what_decides_loses_most_where_it_is_covered(axes: int) -> None:
    image, inside = scene(axes)
    fallen = found(Square(axes), image, "occlusion")
    assert fallen.shape == image.shape[2:]
    assert inside[tuple(torch.unravel_index(fallen.argmax(), fallen.shape))]
    assert (fallen[inside] > 0).all()
    # boxes that reach beyond the square end at most one side of theirs away
    far = torch.ones_like(inside)
    far[tuple([slice(2, 10)] * axes)] = False
    assert (fallen[far].abs() < 1e-6).all()


def test_a_label_that_excludes_no_other_falls_by_its_own_score() -> None:
    class Bright(nn.Module):
        """Says one label alone, by the mean of the image."""

        def forward(self, images: Tensor) -> Tensor:
            return 40 * images.flatten(1).mean(1, keepdim=True) - 1

    image, inside = scene(2)
    asked, apart = Explain(method="occlusion"), explaining.Takes(are_apart=True)
    (fallen,) = explaining.explain(Bright().eval(), image, 0, asked, checkpoint=go_on, takes=apart)
    whole, nothing = (float(Bright()(one).sigmoid()) for one in (image, torch.zeros_like(image)))
    # in the middle of the square boxes of a quarter of it are covered up
    assert 0 < float(fallen.max()) < whole - nothing
    assert (fallen[inside] > 0).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_integrated_gradients_sum_to_the_logit_less_that_of_zeros(axes: int) -> None:
    image, inside = scene(axes)
    network = Square(axes)
    given = found(network, image, "integrated-gradients")
    gained = network(image)[0, 1] - network(torch.zeros_like(image))[0, 1]
    assert float(given.sum()) == pytest.approx(float(gained), rel=1e-5)
    assert (given[inside] > 0).all()
    assert (given[~inside] == 0).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_feature_maps_are_the_mean_of_the_channels(axes: int) -> None:
    image, _ = scene(axes)
    torch.testing.assert_close(
        found(Square(axes), image, "feature-maps", layer="relu"), torch.full(image.shape[2:], 0.25)
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axes", [2, 3])
def test_other_weights_give_another_map(axes: int, method: Method) -> None:
    """Hold methods to the sanity check of Adebayo et al. (NeurIPS 2018)."""
    image = torch.rand(1, 1, *[8] * axes, generator=torch.Generator().manual_seed(0))
    maps = [found(small(axes, seed), image, method).flatten() for seed in (0, 1)]
    assert all(float(one.abs().max()) > 0 for one in maps)
    assert float(torch.corrcoef(torch.stack(maps))[0, 1].abs()) < 0.9
    torch.testing.assert_close(found(small(axes, 0), image, method).flatten(), maps[0])


def small(axes: int, seed: int) -> nn.Module:
    """Return a network of two convolutions with weights drawn at random."""
    conv = nn.Conv2d if axes == 2 else nn.Conv3d
    torch.manual_seed(seed)
    layers = (conv(1, 4, 3, padding=1), nn.ReLU(inplace=True), conv(4, 6, 3), nn.Flatten(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 2))


def test_the_network_is_left_as_it_was() -> None:
    network, (image, _) = Square(2).eval(), scene(2)
    for method in METHODS:
        found(network, image, method)
    assert network.relu.inplace
    assert not any(one._forward_hooks or one._backward_hooks for one in network.modules())
    assert all(one.grad is None and not one.requires_grad for one in network.parameters())


def test_an_ensemble_has_the_mean_of_the_maps_of_its_members() -> None:
    image, inside = scene(2)
    double = Square(2)
    double.conv.weight.mul_(3)
    ensemble = Averaged([Square(2), double], views((), turns=False), "softmax")
    given = found(ensemble, image, "integrated-gradients")
    alone = [found(one, image, "integrated-gradients") for one in (Square(2), double)]
    torch.testing.assert_close(given, (alone[0] + alone[1]) / 2)
    assert explaining.last_convolution(ensemble) == "conv"
    assert explaining.layers(ensemble) == ["conv", "relu"]
    assert inside.any()


@pytest.mark.parametrize("method", METHODS)
def test_a_stop_is_heard_before_every_pass(method: Method) -> None:
    heard = []

    def stop() -> None:
        heard.append(1)
        if len(heard) == 2:
            raise Interrupted("stop")

    image, _ = scene(2)
    with pytest.raises(Interrupted):
        explaining.explain(
            Square(2).eval(), image.repeat(2, 1, 1, 1), 1, Explain(method=method), checkpoint=stop
        )
    assert len(heard) == 2


def attending(axes: int = 3, seed: int = 0) -> AttentionMIL:
    """Return a network that weighs the slices of a volume, or the rows of an image."""
    torch.manual_seed(seed)
    network = AttentionMIL(spatial_dims=axes, in_channels=1, out_channels=2, features=[4])
    for value in network.parameters():
        nn.init.normal_(value.requires_grad_(requires_grad=False))
    return network.eval()


@pytest.mark.parametrize("axes", [2, 3])
def test_attention_is_the_weight_of_each_slice(axes: int) -> None:
    network, image = attending(axes), torch.rand(1, 1, 5, *[6] * (axes - 1))
    given = found(network, image, "attention")
    weights = network.attend(image.transpose(1, 2))[1][0]
    assert weights.max() > 1.5 * weights.min()
    torch.testing.assert_close(given, weights.view(5, *[1] * (axes - 1)).expand(image.shape[2:]))
    assert float(given.flatten(1).mean(1).sum()) == pytest.approx(1.0)


def test_members_weigh_slices_on_average_and_can_be_stopped() -> None:
    members, image = [attending(seed=1), attending(seed=2)], torch.rand(1, 1, 5, 6, 6)
    ensemble = Averaged(members, views((), turns=False), "softmax")
    mean = torch.stack([found(one, image, "attention") for one in members]).mean(0)
    torch.testing.assert_close(found(ensemble, image, "attention"), mean)
    assert explaining.attends(ensemble)
    with pytest.raises(Interrupted):
        explaining.explain(ensemble, image, 1, Explain(method="attention"), checkpoint=interrupt)


def interrupt() -> None:
    raise Interrupted("stop")


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="gives its slices no attention"):
        found(Square(2), scene(2)[0], "attention")


def test_what_looks_at_no_layer_needs_no_convolution() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    assert found(flat, scene(2)[0], "integrated-gradients").shape == (16, 16)


def test_layers_that_are_not_there_or_have_no_places_are_refused() -> None:
    image, _ = scene(2)
    with pytest.raises(ModelMismatch, match="no layer nowhere"):
        found(Square(2), image, "grad-cam", layer="nowhere")
    flat = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    for method in ("grad-cam", "grad-cam++", "feature-maps"):
        with pytest.raises(ModelMismatch, match="nothing that lies in the image"):
            found(flat, image, method, layer="3")
    with pytest.raises(ModelMismatch, match="no convolution"):
        found(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), image, "grad-cam")


# on the grid of what was read


def spec(axes: int, size: tuple[int, ...], **changes: Any) -> ModelSpec:
    options = changes.pop("options", {})
    stated: dict[str, Any] = {
        "modalities": ("CT", "US"),
        "spatial_dims": axes,
        "window": (0.0, 100.0),
        "size": size,
    }
    return ModelSpec(
        name="square",
        version="1",
        kind=Kind.CLASSIFICATION,
        title="Square",
        input=InputSpec(**{**stated, **changes}),
        labels=(Label(number=0, name="dark"), Label(number=1, name="bright")),
        network="DenseNet",
        options=options,
    )


def explained(model: ModelSpec, image: Image | Volume, label: str = "bright") -> Any:
    predictor = ClassificationPredictor(model, Square(model.input.spatial_dims).eval(), Device())
    return predictor.explain(image, Explain(method="grad-cam"), label, checkpoint=go_on)


def centre(values: Any) -> Any:
    """Return the centre of mass of a map, in voxels."""
    places = np.indices(values.shape).reshape(values.ndim, -1)
    return (places * values.reshape(-1)).sum(1) / values.sum()


def boxed(shape: tuple[int, int, int] = (12, 20, 18)) -> Any:
    stored = np.zeros(shape, np.int16)
    stored[2:6, 12:17, 3:9] = 100
    return stored


@pytest.mark.parametrize("orientation", [None, "RAS", "PLI"])
@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_a_map_lies_on_the_volume_whatever_the_network_sees(
    orientation: str | None, fit: str
) -> None:
    volume = tiny.volume(stored=boxed())
    model = spec(3, (22, 22, 22), orientation=orientation, options={"fit": fit})
    given = explained(model, volume)
    assert given.name == "grad-cam of bright"
    assert given.values.shape == volume.stored.shape
    assert given.values.dtype == np.float32
    np.testing.assert_allclose(centre(given.values), centre(volume.stored), atol=0.35)


def test_attention_lies_on_the_slices_of_the_volume() -> None:
    volume, network = tiny.volume(stored=boxed()), attending()
    model = spec(3, (12, 20, 18))
    predictor = ClassificationPredictor(model, network, Device())
    given = predictor.explain(volume, Explain(method="attention"), "bright", checkpoint=go_on)
    seen = torch.from_numpy(volume.stored / np.float32(100))[None, :, None]
    weights = network.attend(seen)[1][0].numpy()
    np.testing.assert_allclose(given.values, np.broadcast_to(weights[:, None, None], (12, 20, 18)))
    # the slices that show something count otherwise than the others
    assert abs(weights[3] - weights[8]) > 1e-3


def test_a_map_comes_back_from_another_spacing() -> None:
    volume = tiny.volume(stored=boxed())
    given = explained(spec(3, (20, 16, 16), orientation="SPL", spacing=(1.5, 1.5, 1.2)), volume)
    np.testing.assert_allclose(centre(given.values), centre(volume.stored), atol=0.5)


@pytest.mark.parametrize("orientation", [None, "IPL"])
def test_a_network_of_two_axes_is_explained_slice_by_slice(orientation: str | None) -> None:
    volume = tiny.volume(stored=boxed())
    given = explained(spec(2, (20, 18), orientation=orientation), volume)
    np.testing.assert_allclose(given.values, (volume.stored > 50).astype(np.float32), atol=1e-6)


def test_frames_of_an_image_are_explained_on_their_own_grid() -> None:
    pixels = boxed().astype(np.float32)
    given = explained(spec(2, (40, 36)), Image(pixels=pixels))
    assert given.values.shape == pixels.shape
    np.testing.assert_allclose(centre(given.values), centre(pixels), atol=0.1)
    cut = explained(spec(2, (40, 10), options={"fit": "crop"}), Image(pixels=pixels))
    inside = pixels[:, :, 4:14]
    np.testing.assert_allclose(cut.values[:, :, 4:14], inside / 100, atol=1e-6)
    assert not cut.values[:, :, :4].any()


def test_a_label_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="no label purple"):
        explained(spec(2, (20, 18)), Image(pixels=boxed().astype(np.float32)), "purple")


class Hungry(nn.Module):
    """Has no memory left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError(f"CUDA out of memory, tried {images.numel()}")


def test_memory_that_runs_out_is_told_as_such() -> None:
    predictor = ClassificationPredictor(spec(2, (20, 18)), Hungry(), Device())
    image = Image(pixels=boxed().astype(np.float32))
    with pytest.raises(OutOfMemory, match="square was explained"):
        predictor.explain(image, Explain(method="occlusion"), "bright", checkpoint=go_on)


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_a_sequence_is_explained_on_the_frames_of_its_loop(fit: str) -> None:
    pixels = boxed().astype(np.float32)
    given = explained(spec(3, (22, 22, 22), options={"fit": fit}), Image(pixels=pixels))
    assert given.values.shape == pixels.shape
    np.testing.assert_allclose(centre(given.values), centre(pixels), atol=0.35)
