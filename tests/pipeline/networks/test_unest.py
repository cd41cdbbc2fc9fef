from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from pipeline.networks.nested_transformer import Nesting
from pipeline.networks.unest import UNesT, unest

#: the smallest that has more than one voxel where its maps are coarsest
SMALL = Nesting(roi_size=64, widths=(4, 8, 16), heads=(1, 2, 4), depths=(1, 1, 1))


@pytest.fixture(scope="module")
def network() -> UNesT:
    torch.manual_seed(0)
    return UNesT(1, 3, SMALL).eval()


@pytest.fixture(scope="module")
def ball() -> torch.Tensor:
    """A ball of radius 16 in the middle of 64 voxels: (1, 1, 64, 64, 64), 0 and 1."""
    grid = torch.stack(torch.meshgrid([torch.arange(64.0) - 31.5] * 3, indexing="ij"))
    return (grid.square().sum(0) < 16**2).float()[None, None]


# What goes into a digest: for every entry of a state dict, sorted by name, a line of the name and
# the extents with blanks between. The two digests are facts of the published networks: of UNesT as
# the bundles renalStructures_UNEST_segmentation and wholeBrainSeg_Large_UNEST_segmentation of the
# MONAI Model Zoo build it, 193 entries each.
@pytest.mark.parametrize(
    ("labels", "digest"),
    [
        (4, "1a7b1bc843e9017d9b844f6d5cc9293e6f00ddcf1900e86b216c3f192da8db45"),
        (133, "6fd968afe6dcbc9717805b3165ff79513678a146e4e8e473f201b70974ed0717"),
    ],
)
def test_weights_have_the_names_and_shapes_of_the_published_ones(labels: int, digest: str) -> None:
    with torch.device("meta"):
        state = unest(in_channels=1, out_channels=labels).state_dict()
    lines = [f"{name} {' '.join(map(str, state[name].shape))}\n" for name in sorted(state)]
    assert len(lines) == 193
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == digest


def test_logits_have_the_size_of_the_window(network: UNesT, ball: torch.Tensor) -> None:
    with torch.no_grad():
        assert network(ball).shape == (1, 3, 64, 64, 64)


def test_windows_of_a_batch_do_not_see_each_other(network: UNesT, ball: torch.Tensor) -> None:
    with torch.no_grad():
        together = network(torch.cat([ball, 1 - ball]))
        alone = network(1 - ball)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


def test_float32_answers_as_float64(network: UNesT, ball: torch.Tensor) -> None:
    exact = UNesT(1, 3, SMALL).double().eval()
    exact.load_state_dict(network.state_dict())
    with torch.no_grad():
        difference = network(ball).double() - exact(ball.double())
    assert difference.abs().max() < 1e-4


def test_one_batch_is_learned_by_heart(ball: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = UNesT(1, 2, SMALL)
    image = ball + 0.2 * torch.randn_like(ball)
    truth = ball[:, 0].long()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.3)
    losses = []
    for _ in range(4):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(image), truth)
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
    assert all(parameter.grad is not None for parameter in network.parameters())
    # who knows only how much of the window the ball fills, 6.5 %, comes to 0.24
    assert losses[-1] < 0.23


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"patch_size": 2}, "patches of 4"),
        ({"depths": (2, 2), "embed_dim": (8, 16), "num_heads": (1, 2)}, "three levels"),
        ({"embed_dim": (128, 256, 256)}, "doubles its widths"),
        ({"embed_dim": (128, 128, 512)}, "doubles its widths"),
        ({"embed_dim": (6, 12, 24), "num_heads": (1, 1, 1)}, "multiple of 4"),
    ],
)
def test_sizes_without_a_decoder_are_refused(sizes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        unest(1, 2, **sizes)  # type: ignore[arg-type]
