"""A nested hierarchical transformer over a cube of voxels.

Zhang et al., "Nested Hierarchical Transformer: Towards Accurate, Data-Efficient and Interpretable
Visual Understanding", AAAI 2022 (arXiv 2105.12723), in three dimensions as Yu et al. (UNesT,
Medical Image Analysis 2023) use it. A cube of patches is cut into blocks. Tokens attend to those of
their own block only; between two levels a convolution and a pooling halve the cube and merge eight
blocks into one, until the last level is one block. The side of a block in tokens stays the same.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from einops import rearrange
from monai.networks.layers.drop_path import DropPath
from torch import Tensor, nn

_EPSILON = 1e-6
_INITIAL_DEVIATION = 0.02
#: hidden features of the perceptron after attention, for each feature of a token
_MLP_RATIO = 4
#: stochastic depth: how often the last layer is skipped in training; the first never is
_LAST_DROP = 0.5
#: n x m x o blocks of d x h x w tokens, as they lie in the image and block by block
_CUBE, _BLOCKS = "b c (n d) (m h) (o w)", "b (n m o) (d h w) c"


@dataclass(frozen=True, kw_only=True)
class Nesting:
    """Sizes of the hierarchy, from the finest level to the coarsest."""

    #: voxels along each side of the cube that goes in; positions are learned, so no other fits
    roi_size: int = 96
    #: voxels along each side of a patch, which becomes one token of the finest level
    patch_size: int = 4
    #: features of a token
    widths: tuple[int, ...] = (128, 256, 512)
    heads: tuple[int, ...] = (4, 8, 16)
    #: layers of attention
    depths: tuple[int, ...] = (2, 2, 8)

    def __post_init__(self) -> None:
        """Refuse sizes that do not divide each other."""
        if not len(self.widths) == len(self.heads) == len(self.depths) >= 1:
            raise ValueError("every level needs a width, a number of heads and a depth")
        if self.roi_size < 1 or self.roi_size % (self.patch_size << (len(self.widths) - 1)):
            raise ValueError("the side of the cube must be so many blocks of whole patches")
        if any(width % heads for width, heads in zip(self.widths, self.heads, strict=True)):
            raise ValueError("each width must be a multiple of its heads")

    @property
    def block_size(self) -> int:
        """Tokens along each side of a block, on every level."""
        return self.roi_size // (self.patch_size << (len(self.widths) - 1))


class NestedTransformer(nn.Module):
    """The encoder: a pyramid of features, each level half as fine as the one before."""

    def __init__(self, in_channels: int, nesting: Nesting) -> None:
        super().__init__()
        self._shape = (in_channels, *[nesting.roi_size] * 3)
        widths = nesting.widths
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv3d(in_channels, widths[0], nesting.patch_size, nesting.patch_size)}
        )
        self.levels = nn.ModuleList(
            _Level(nesting, level, drops) for level, drops in enumerate(_drop_rates(nesting.depths))
        )
        self.norm = nn.LayerNorm(widths[-1], eps=_EPSILON)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode cubes.

        Args:
            images: (B, in_channels, R, R, R) with R the ``roi_size``.

        Returns:
            (B, width, *side) for the patches, then for every level, then for the last level once
            more, normalised. The patches and the first level have sides of R / ``patch_size``.

        Raises:
            ValueError: another shape.

        """
        if tuple(images.shape[1:]) != self._shape:
            wanted = " x ".join(map(str, self._shape))
            raise ValueError(f"the network takes windows of {wanted} values")
        maps = [self.patch_embed["proj"](images)]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return [*maps, _over_channels(self.norm, maps[-1])]


class _Level(nn.Module):
    """Layers of attention within blocks; before them, unless it is the finest, a merge."""

    def __init__(self, nesting: Nesting, level: int, drops: list[float]) -> None:
        super().__init__()
        width = nesting.widths[level]
        blocks, side = 1 << (len(nesting.widths) - 1 - level), nesting.block_size
        self._lengths = dict.fromkeys("nmo", blocks) | dict.fromkeys("dhw", side)
        self.pos_embed = nn.Parameter(torch.zeros(1, blocks**3, side**3, width))
        nn.init.trunc_normal_(self.pos_embed, std=_INITIAL_DEVIATION)
        self.pool = _Merge(nesting.widths[level - 1], width) if level else nn.Identity()
        self.transformer_encoder = nn.Sequential(
            *(_Layer(width, nesting.heads[level], drop) for drop in drops)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, channels, *side) to (B, width, *side), or half the side after a merge."""
        tokens = rearrange(self.pool(features), f"{_CUBE} -> {_BLOCKS}", **self._lengths)
        tokens = self.transformer_encoder(tokens + self.pos_embed)
        merged: Tensor = rearrange(tokens, f"{_BLOCKS} -> {_CUBE}", **self._lengths)
        return merged


class _Merge(nn.Module):
    """Halves the cube, so that eight blocks become one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(out_channels, eps=_EPSILON)
        self.pool = nn.MaxPool3d(kernel_size=3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, *side) to (B, out_channels, *side / 2)."""
        merged: Tensor = self.pool(_over_channels(self.norm, self.conv(features)))
        return merged


class _Layer(nn.Module):
    """Attention and a perceptron, each added to what goes in (pre-norm)."""

    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = _BlockAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(width, _MLP_RATIO * width),
                "fc2": nn.Linear(_MLP_RATIO * width, width),
            }
        )
        self.drop_path = DropPath(drop)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, blocks, tokens, width) to the same shape."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        hidden = F.gelu(self.mlp["fc1"](self.norm2(tokens)))
        summed: Tensor = tokens + self.drop_path(self.mlp["fc2"](hidden))
        return summed


class _BlockAttention(nn.Module):
    """Self-attention among the tokens of each block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, blocks, tokens, width) to the same shape."""
        query, key, value = rearrange(
            self.qkv(tokens), "b n t (three h c) -> three b n h t c", three=3, h=self._heads
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        # the published weights project features with the heads fastest
        projected: Tensor = self.proj(rearrange(attended, "b n h t c -> b n t (c h)"))
        return projected


def _over_channels(norm: nn.LayerNorm, features: Tensor) -> Tensor:
    """Normalise each voxel of (B, channels, *side) over its channels."""
    normed: Tensor = norm(features.movedim(1, -1))
    return normed.movedim(-1, 1)


def _drop_rates(depths: tuple[int, ...]) -> list[list[float]]:
    """Return for each level the drop rate of each layer, rising evenly over all of them."""
    rates = iter(torch.linspace(0, _LAST_DROP, sum(depths), device="cpu").tolist())
    return [list(itertools.islice(rates, depth)) for depth in depths]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=_INITIAL_DEVIATION)
        nn.init.zeros_(module.bias)
