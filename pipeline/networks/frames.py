"""One vector for each frame of a sequence or instance of a bag, computed from that frame alone.

Frames are the slices of a volume, the pictures of a video, the patches of a slide. Sequences of
several lengths lie in one tensor with a mask of what is there. What is not there is never read: it
may hold anything, NaN included, and changes no result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.trunk import trunk


class FrameEncoder(nn.Module):
    """A convolutional trunk over each frame, and the mean of its last map."""

    def __init__(self, frame_dims: int, in_channels: int, features: Sequence[int]) -> None:
        """Build with fresh weights.

        Args:
            frame_dims: spatial axes of a frame.
            in_channels: channels of a frame.
            features: width of each convolution, which halves the resolution; the last is that of
                the vectors.

        Raises:
            ValueError: no features.

        """
        super().__init__()
        self.trunk = trunk(frame_dims, in_channels, features)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (N, T, C, *spatial) to vectors (N, T, F), zeros where ``mask`` says nothing is there.

        Args:
            frames: float (N, T, C, *spatial).
            mask: bool (N, T), True where there is a frame; None where all are.

        Raises:
            ValueError: a mask of another shape or type, or a sequence without a frame.

        """
        if mask is None:
            encoded = self._encoded(frames.flatten(0, 1))
            return encoded.reshape(*frames.shape[:2], -1)
        _check(mask, frames)
        encoded = self._encoded(frames[mask])
        vectors = encoded.new_zeros((*mask.shape, encoded.shape[1]))
        vectors[mask] = encoded
        return vectors

    def _encoded(self, frames: Tensor) -> Tensor:
        """Map (M, C, *spatial) to (M, F)."""
        encoded: Tensor = self.trunk(frames)
        return encoded.flatten(2).mean(2)


def mask_of(lengths: Tensor, frames: int) -> Tensor:
    """Return the mask (N, frames) of sequences whose first ``lengths`` (N,) frames are there."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def _check(mask: Tensor, frames: Tensor) -> None:
    if mask.dtype != torch.bool or mask.shape != frames.shape[:2]:
        raise ValueError(f"a mask of {tuple(frames.shape[:2])} truth values is needed")
    if not mask.any(1).all():
        raise ValueError("a sequence has no frame at all")
