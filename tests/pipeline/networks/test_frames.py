from __future__ import annotations

import pytest
import torch

from pipeline.networks.frames import FrameEncoder, mask_of


@pytest.fixture
def encoder() -> FrameEncoder:
    torch.manual_seed(0)
    return FrameEncoder(2, 1, (4, 8))


def test_a_mask_says_how_long_each_sequence_is() -> None:
    expected = [[True, False, False], [True, True, True], [False, False, False]]
    assert mask_of(torch.tensor([1, 3, 0]), 3).tolist() == expected


def test_the_vector_of_a_frame_comes_from_that_frame_alone(encoder: FrameEncoder) -> None:
    frames = torch.randn(2, 3, 1, 8, 8)
    vectors = encoder(frames)
    assert vectors.shape == (2, 3, 8)
    torch.testing.assert_close(vectors[1, 2], encoder(frames[1:, 2:])[0, 0], atol=1e-6, rtol=1e-5)


def test_a_vector_is_the_mean_of_the_last_map(encoder: FrameEncoder) -> None:
    frames = torch.randn(1, 3, 1, 8, 8)
    expected = encoder.trunk(frames[0]).mean((2, 3))
    torch.testing.assert_close(encoder(frames)[0], expected)


def test_what_is_not_there_is_not_read_and_becomes_zero(encoder: FrameEncoder) -> None:
    frames = torch.randn(2, 3, 1, 8, 8)
    mask = torch.tensor([[True, False, True], [False, True, True]])
    frames[~mask] = torch.nan
    vectors = encoder(frames, mask)
    assert torch.equal(vectors[~mask], torch.zeros(2, 8))
    assert torch.equal(vectors[mask], encoder(frames[mask][None])[0])
    vectors.sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in encoder.parameters())


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (torch.ones(2, 3), "truth values"),
        (torch.ones(2, 4, dtype=torch.bool), "truth values"),
        (torch.tensor([[True, True, True], [False, False, False]]), "no frame at all"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    encoder: FrameEncoder, mask: torch.Tensor, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        encoder(torch.randn(2, 3, 1, 8, 8), mask)
