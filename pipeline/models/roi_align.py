"""RoIAlign in plain torch: what lies in a box of a feature map, averaged into a few bins.

He et al., "Mask R-CNN", ICCV 2017. A bin is a weighted sum of pixels, and the weights are those of
its samples between four pixels each. So all bins of all boxes are one ``embedding_bag`` over the
map's pixels, of any number of channels, which is fast forwards and backwards and needs no memory
for the samples' values. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

#: pixels that are weighed at once: their places and weights take 12 bytes each
_WEIGHED: Final = 2**22


def roi_align(  # noqa: PLR0913, PLR0917, the schema of torchvision's operator
    images: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,  # noqa: FBT001
) -> Tensor:
    """Return what ``torch.ops.torchvision.roi_align`` does, differentiable in the images.

    Each bin is the mean of samples on a regular grid in it, interpolated between four pixels. A
    sample more than a pixel outside counts 0, any other is held at the border.

    Args:
        images: (N, C, H, W). Half precisions are computed in float32.
        rois: (K, 5), number of the image, then x0, y0, x1, y1.
        spatial_scale: pixels of the map for one of the boxes' units.
        pooled_height: bins along y.
        pooled_width: bins along x.
        sampling_ratio: samples along each axis of a bin; 0 or less = one for each pixel begun.
        aligned: whether a pixel's centre lies at its index + 0.5; boxes have no least size then.

    Returns:
        (K, C, pooled_height, pooled_width), in the type of the images.

    """
    import torch

    bins = (pooled_height, pooled_width)
    if not len(rois):
        return images.new_zeros((0, images.shape[1], *bins))
    exact = images if images.dtype == torch.float64 else images.float()
    pixels = exact.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    boxes = rois.detach().to(exact.dtype)
    shift = 0.5 if aligned else 0.0
    first = boxes[:, [2, 1]] * spatial_scale - shift
    extent = boxes[:, [4, 3]] * spatial_scale - shift - first
    extent = extent if aligned else extent.clamp(min=1.0)
    size = extent / torch.tensor(bins, dtype=exact.dtype, device=boxes.device)
    samples = torch.full_like(size, sampling_ratio) if sampling_ratio > 0 else size.ceil()
    regions = _Regions(
        image=boxes[:, 0].long(),
        # nowhere, where there is nothing to take samples of
        first=torch.where(samples > 0, first, torch.nan),
        size=size,
        samples=samples.nan_to_num().clamp(min=1),
    )
    shape = (images.shape[2], images.shape[3])
    parts = [(chosen, part.pool(pixels, shape, bins)) for chosen, part in regions.parts(bins)]
    order = torch.cat([chosen for chosen, _ in parts]).argsort()
    pooled = parts[0][1] if len(parts) == 1 else torch.cat([each for _, each in parts])[order]
    return pooled.permute(0, 3, 1, 2).to(images.dtype)


@dataclass(frozen=True, kw_only=True)
class _Regions:
    """Boxes on the map, along y and x."""

    #: (K,) number of the image
    image: Tensor
    #: (K, 2) where the first bin begins
    first: Tensor
    #: (K, 2) of a bin
    size: Tensor
    #: (K, 2) in a bin
    samples: Tensor

    def parts(self, bins: tuple[int, int]) -> Iterator[tuple[Tensor, _Regions]]:
        """Yield boxes whose bins weigh as many pixels, and which of all they are."""
        import torch

        counts = torch.stack([self.samples, self._taps()], dim=2)
        kinds, kind = torch.unique(counts, dim=0, return_inverse=True)
        for number, taps in enumerate(kinds[:, :, 1].prod(1).tolist()):
            each = max(1, int(taps) * bins[0] * bins[1])
            for chosen in (kind == number).nonzero()[:, 0].split(max(1, _WEIGHED // each)):
                part = _Regions(
                    image=self.image[chosen],
                    first=self.first[chosen],
                    size=self.size[chosen],
                    samples=self.samples[chosen],
                )
                yield chosen, part

    def _taps(self) -> Tensor:
        """Return how many pixels a bin weighs, along y and x.

        Two for each sample, or where samples lie no more than a pixel apart, all from the first to
        the last.
        """
        import torch

        return torch.where(self.size.abs() <= self.samples, self.samples + 1, 2 * self.samples)

    def pool(self, pixels: Tensor, shape: tuple[int, int], bins: tuple[int, int]) -> Tensor:
        """Return the bins (K, pooled_height, pooled_width, C) of pixels (N * H * W, C)."""
        from torch.nn import functional

        (row, row_weight), (column, column_weight) = (
            self._weigh(axis, shape[axis], bins[axis]) for axis in (0, 1)
        )
        row = row + self.image[:, None, None] * shape[0]
        place = row[:, :, None, :, None] * shape[1] + column[:, None, :, None, :]
        weight = row_weight[:, :, None, :, None] * column_weight[:, None, :, None, :]
        summed = functional.embedding_bag(
            place.flatten(3).flatten(0, 2),
            pixels,
            mode="sum",
            per_sample_weights=weight.flatten(3).flatten(0, 2),
        )
        return summed.view(len(self.image), *bins, -1)

    def _weigh(self, axis: int, length: int, bins: int) -> tuple[Tensor, Tensor]:
        """Return pixels (K, bins, taps) along an axis, and what each weighs in its bin."""
        import torch

        count, taps = (int(each[0, axis]) for each in (self.samples, self._taps()))
        size, first = self.size[:, axis, None, None], self.first[:, axis, None, None]
        numbers = torch.arange(max(bins, taps), dtype=size.dtype, device=size.device)
        at = first + numbers[:bins, None] * size + (numbers[:count] + 0.5) * (size / count)
        counts = ((at >= -1) & (at <= length)).to(at.dtype) / count
        at = at.nan_to_num().clamp(0, length - 1)
        if taps == 2 * count:
            below = at.floor()
            places = torch.cat([below, below + 1], dim=2)
            weights = torch.cat([counts * (below + 1 - at), counts * (at - below)], dim=2)
        else:
            places = at.amin(2, keepdim=True).floor() + numbers[:taps]
            shares = (1 - (places[..., None] - at[:, :, None]).abs()).clamp(min=0)
            weights = (shares * counts[:, :, None]).sum(3)
        return places.long().clamp(max=length - 1), weights
