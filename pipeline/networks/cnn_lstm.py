"""A classifier of sequences: a convolutional trunk for each frame, an LSTM over their vectors.

Donahue et al., "Long-term Recurrent Convolutional Networks for Visual Recognition and Description",
CVPR 2015; the LSTM is torch's, after Hochreiter and Schmidhuber, Neural Computation 9(8), 1997.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from pipeline.networks.frames import FrameEncoder
from pipeline.networks.trunk import DEFAULT_FEATURES


class CNNLSTM(nn.Module):
    """Classes of a volume from its slices in order, or of a video from its frames.

    The sequence is the first spatial axis of a volume. Frames that a mask leaves out do not exist
    for the network, wherever in the sequence they are.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        hidden: int = 64,
        bidirectional: bool = True,
    ) -> None:
        """Build with fresh weights.

        Args:
            spatial_dims: axes of the input, the sequence among them: 3 for slices of a volume, 2
                for lines of an image.
            in_channels: channels of a frame.
            out_channels: classes.
            features: width of each convolution, which halves a frame's resolution.
            hidden: width of the LSTM, each way.
            bidirectional: whether the sequence is read from both ends.

        Raises:
            ValueError: no features.

        """
        super().__init__()
        self.encoder = FrameEncoder(spatial_dims - 1, in_channels, features)
        self.lstm = nn.LSTM(features[-1], hidden, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), out_channels)

    def forward(self, volumes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (N, in_channels, T, *spatial) to logits (N, out_channels).

        Args:
            volumes: float (N, in_channels, T, *spatial).
            mask: bool (N, T), True where there is a slice; None where all are.

        Raises:
            ValueError: a mask of another shape or type, or a sequence without a frame.

        """
        return self.of_frames(volumes.transpose(1, 2), mask)

    def of_frames(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (N, T, in_channels, *spatial) to logits; otherwise as ``forward``."""
        vectors = self.encoder(frames, mask)
        if mask is None:
            _, (states, _) = self.lstm(vectors)
        else:
            _, (states, _) = self.lstm(_packed(vectors, mask))
        # (directions, N, hidden): where each way of reading ended
        logits: Tensor = self.head(states.transpose(0, 1).flatten(1))
        return logits


def _packed(vectors: Tensor, mask: Tensor) -> nn.utils.rnn.PackedSequence:
    """Return the vectors (N, T, F) of the frames that are there, in their order, without gaps."""
    front = (~mask).byte().argsort(dim=1, stable=True)
    moved = vectors.gather(1, front[..., None].expand_as(vectors))
    return pack_padded_sequence(moved, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
