from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.networks.cnn_lstm import CNNLSTM
from pipeline.networks.frames import mask_of
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

LENGTHS = torch.tensor([3, 6, 1, 4])


def small(*, bidirectional: bool = True, spatial_dims: int = 3) -> CNNLSTM:
    torch.manual_seed(0)
    return CNNLSTM(
        spatial_dims=spatial_dims,
        in_channels=2,
        out_channels=3,
        features=(4, 8),
        hidden=6,
        bidirectional=bidirectional,
    )


@pytest.fixture(params=[False, True], ids=["forwards", "both ways"])
def network(request: pytest.FixtureRequest) -> CNNLSTM:
    return small(bidirectional=request.param)


@pytest.fixture
def volumes() -> Tensor:
    """Four volumes of up to six slices: (4, 2, 6, 9, 8)."""
    return torch.randn(4, 2, 6, 9, 8, generator=torch.Generator().manual_seed(2))


def test_a_volume_gets_its_logits(network: CNNLSTM, volumes: Tensor) -> None:
    assert network(volumes).shape == (4, 3)
    assert small(spatial_dims=2)(volumes[:, :, 0]).shape == (4, 3)


def test_the_sequence_of_a_volume_is_its_first_spatial_axis(
    network: CNNLSTM, volumes: Tensor
) -> None:
    videos = torch.stack([volumes[:, :, place] for place in range(6)], 1)
    assert torch.equal(network(volumes), network.of_frames(videos))
    assert not torch.allclose(network(volumes), network(volumes.flip(2)), atol=1e-3)


def test_the_states_are_those_of_each_sequence_alone(network: CNNLSTM, volumes: Tensor) -> None:
    logits = network(volumes, mask_of(LENGTHS, 6))
    for row, length in enumerate(LENGTHS):
        vectors = network.encoder(volumes[row : row + 1, :, :length].transpose(1, 2))
        outputs, _ = network.lstm(vectors)
        ends = [outputs[0, -1, :6]]
        if network.lstm.bidirectional:
            ends.append(outputs[0, 0, 6:])
        torch.testing.assert_close(logits[row], network.head(torch.cat(ends)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("padding", [0.0, 1e30, torch.nan])
def test_what_padding_holds_changes_not_one_bit(
    network: CNNLSTM, volumes: Tensor, padding: float, *, is_training: bool
) -> None:
    network.train(is_training)
    mask = mask_of(LENGTHS, 6)
    padded = torch.where(mask[:, None, :, None, None], volumes, padding)
    assert torch.equal(network(padded, mask), network(volumes, mask))


def test_padding_changes_not_one_bit_of_what_a_sequence_gets_without(
    network: CNNLSTM, volumes: Tensor
) -> None:
    for length in (1, 4):
        without = volumes[:1, :, :length]
        padded = functional.pad(without, (0, 0, 0, 0, 0, 9), value=7.0)
        mask = mask_of(torch.tensor([length]), length + 9)
        everything = torch.ones(1, length, dtype=torch.bool)
        assert torch.equal(network(padded, mask), network(without, everything))
        torch.testing.assert_close(network(padded, mask), network(without), atol=1e-6, rtol=1e-5)


def test_sequences_of_a_batch_get_what_they_get_alone(network: CNNLSTM, volumes: Tensor) -> None:
    together = network(volumes, mask_of(LENGTHS, 6))
    alone = torch.cat(
        [network(volumes[row : row + 1, :, :length]) for row, length in enumerate(LENGTHS)]
    )
    assert (alone.std(0) > 0).all()
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_frames_missing_within_a_sequence_leave_the_others_in_their_order(
    network: CNNLSTM, volumes: Tensor
) -> None:
    mask = torch.tensor([[False, True, False, True, True, False]])
    there = volumes[:1, :, [1, 3, 4]]
    torch.testing.assert_close(network(volumes[:1], mask), network(there), atol=1e-6, rtol=1e-5)


def test_padding_gets_no_gradient_and_changes_none(network: CNNLSTM, volumes: Tensor) -> None:
    mask = mask_of(LENGTHS, 6)
    volumes.requires_grad_()
    network(volumes, mask).square().sum().backward()
    assert volumes.grad is not None
    by_frame = volumes.grad.abs().amax((1, 3, 4))
    assert torch.equal(by_frame > 0, mask)


def test_one_batch_is_learned_by_heart(network: CNNLSTM) -> None:
    """Two of the sequences hold the same frames: only their order tells them apart."""
    torch.manual_seed(1)
    one, other = torch.randn(2, 2, 8, 8)
    frames = torch.stack([torch.stack(pair) for pair in ((one, other), (other, one), (one, one))])
    volumes = functional.pad(frames.transpose(1, 2), (0, 0, 0, 0, 0, 1), value=torch.nan)
    mask, classes = mask_of(torch.full((3,), 2), 3), torch.arange(3)
    assert_overfits(network, (volumes, mask), classes, functional.cross_entropy, rate=0.05)
    assert torch.equal(network(volumes, mask).argmax(1), classes)


def test_float32_answers_as_float64(network: CNNLSTM, volumes: Tensor) -> None:
    assert_same_in_double(network, (volumes, mask_of(LENGTHS, 6)))


def test_a_sequence_without_a_frame_is_refused(network: CNNLSTM, volumes: Tensor) -> None:
    with pytest.raises(ValueError, match="no frame at all"):
        network(volumes, mask_of(torch.tensor([3, 0, 1, 2]), 6))
