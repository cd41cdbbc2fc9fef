"""Running VISTA3D for classes by number, without points, in bounded memory.

He et al., "VISTA3D: A Unified Segmentation Foundation Model For 3D Medical Imaging", CVPR 2025
(arXiv 2406.05285). The network (``monai.networks.nets.VISTA3D``) is asked for classes, its prompts,
and answers with a map of logits for each; a voxel belongs to the class with the largest logit if
that is above zero. A hundred maps of a whole image do not fit a device. Here maps are summed block
by block as windows pass, and asked for in groups; what is kept of the image is one label.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer
from monai.transforms.transform import MapTransform
from torch import Tensor

from pipeline.models import sliding, stitching
from pipeline.models.stitching import Blocks, Box

#: what the published bundle looks for when asked for everything. Left out are classes that take
#: points (16 prostate or uterus, 18 rectum, 129 to 131), those that are others together (2 kidney,
#: 20 lung, 21 bone), lesions (23, 24, 26, 27, 128), 25 hepatic vessels and 132 airways
EVERYTHING = tuple(
    sorted(set(range(1, 133)) - {2, 16, 18, 20, 21, 23, 24, 25, 26, 27, *range(128, 133)})
)
#: the published inferer lays windows for classes so; its ``overlap`` is for those around points
_OVERLAP = 0.25
_BYTES = 4
_ROOM = 2**32


class Vista3dInferer(Inferer):
    """Label maps by VISTA3D. MONAI's bundle names it ``scripts.inferer.Vista3dInferer``.

    The labels are those of the bundle's inferer and its ``VistaPostTransformd`` together. Where two
    classes have the same logit, the one asked for first counts.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        sw_batch_size: int = 1,
        *,
        prompts: Sequence[int] = EVERYTHING,
        room: int = _ROOM,
    ) -> None:
        """Prepare.

        Args:
            roi_size: voxels of a window along each axis.
            sw_batch_size: windows that go through the network at once.
            prompts: the classes to look for, each from 1.
            room: bytes that sums and answers of the network may take. A window and a few of its
                neighbours are summed for one class at least.

        Raises:
            ValueError: prompts that are none, twice there, or no classes.

        """
        super().__init__()
        if not prompts or len(set(prompts)) != len(prompts) or not all(map(_is_class, prompts)):
            raise ValueError("prompts are different class numbers from 1, at least one")
        self._size = tuple(int(extent) for extent in roi_size)
        self._batch = sw_batch_size
        self._prompts = tuple(prompts)
        self._room = room

    def asking_for(self, prompts: Sequence[int]) -> Vista3dInferer:
        """Return an inferer that looks for other classes.

        Raises:
            ValueError: as for a new one.

        """
        return Vista3dInferer(self._size, self._batch, prompts=prompts, room=self._room)

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *_: Any, **__: Any) -> Tensor:
        """Return the class of every voxel, 0 for none of the prompts.

        Args:
            inputs: one image, (1, channels, *spatial).
            network: VISTA3D.

        Returns:
            float32 (1, 1, *spatial), on the device of ``inputs`` and with its metadata.

        Raises:
            ValueError: several images, or a prompt that the network knows by points only.

        """
        if len(inputs) != 1:
            raise ValueError("VISTA3D takes one image at a time")
        last = cast("Any", network).point_head.last_supported
        if max(self._prompts) > last:
            raise ValueError(f"the network knows classes up to {last} without points")
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        image, inside = sliding.pad(plain[0], self._size)
        labels = self._labels(image, network)[(slice(None), *inside)][None]
        return MetaTensor(labels, meta=inputs.meta) if isinstance(inputs, MetaTensor) else labels

    def _labels(self, image: Tensor, network: Callable[..., Any]) -> Tensor:
        """Return labels (1, *spatial) of an image (channels, *spatial) not below a window."""
        shape = image.shape[1:]
        axes = sorted(range(len(shape)), key=lambda axis: -shape[axis])
        windows = stitching.in_order(sliding.lay(shape, self._size, _OVERLAP), axes)
        labels = torch.zeros(shape, device=image.device)
        highest = torch.zeros(shape, device=image.device)
        for prompts in self._groups(shape, windows):
            asked = torch.tensor(prompts, device=image.device)
            for box, logits in self._summed(image, windows, network, asked):
                best, place = logits.max(0)
                is_higher = best > highest[box]
                labels[box] = torch.where(is_higher, asked[place].float(), labels[box])
                highest[box] = torch.where(is_higher, best, highest[box])
        return labels[None]

    def _groups(self, shape: Sequence[int], windows: Sequence[Box]) -> Iterator[tuple[int, ...]]:
        """Yield as many prompts at once as fit the room."""
        summed = Blocks(shape, windows, range(len(shape))).most_voxels(windows)
        answered = self._batch * torch.Size(self._size).numel()
        # besides the prompts' sums there is one of the weights
        most = max(1, (self._room // _BYTES - summed) // (summed + answered))
        for first in range(0, len(self._prompts), most):
            yield self._prompts[first : first + most]

    def _summed(
        self, image: Tensor, windows: Sequence[Box], network: Callable[..., Any], asked: Tensor
    ) -> Iterator[tuple[Box, Tensor]]:
        """Yield blocks of the image with their logits (prompts, *block), each when it is done."""
        blocks = Blocks(image.shape[1:], windows, range(image.ndim - 1))
        weight = torch.ones(self._size, device=image.device)
        for first in range(0, len(windows), self._batch):
            group = windows[first : first + self._batch]
            pixels = torch.stack([image[(slice(None), *window)] for window in group])
            answers = network(pixels, class_vector=asked[:, None], transpose=True)
            for window, answer in zip(group, answers, strict=True):
                blocks.add(window, answer, weight)
            yield from blocks.finished()


def _is_class(prompt: object) -> bool:
    return type(prompt) is int and prompt > 0


class VistaPostTransformd(MapTransform):
    """Stands where MONAI's turns one map for each prompt into labels: ours are labels already."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data as it is.

        Raises:
            ValueError: what is said to be labels has several channels.

        """
        for key in self.key_iterator(data):
            if len(data[key]) != 1:
                raise ValueError(f"{key!s} is no map of labels")
        return dict(data)
