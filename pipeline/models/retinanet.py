"""A small RetinaNet for boxes in 2-D and 3-D, out of MONAI's parts and without torchvision.

MONAI's own factory asks torchvision for three names it does not need here. We build the feature
pyramid ourselves and train with ATSS matching (Zhang et al., CVPR 2020) and hard negative sampling,
which are MONAI's. Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from monai.apps.detection.networks import retinanet_detector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

_DEFAULT_ANCHOR = 6
_CANDIDATES = {2: 10, 3: 20}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a bundle may state of the network beside its axes, channels and classes."""

    #: width of each residual stage, one to four, multiples of 8
    features: Sequence[int] = (16, 32)
    #: width of the pyramid and of the heads, a multiple of 8
    pyramid_channels: int = 16
    #: box sizes in voxels of the input at the finest level, each with a number for each axis; every
    #: further level doubles them. None = one cube of 6
    anchor_shapes: Sequence[Sequence[int]] | None = None
    #: of the first convolution, 2 or 4
    stride: int = 2
    #: the stage, from 0, that the finest level of the pyramid is made of: what is large needs no
    #: finer one
    finest: int = 0

    def __post_init__(self) -> None:
        """Check what a bundle states."""
        widths = (*self.features, self.pyramid_channels)
        if not 1 <= len(self.features) <= 4 or any(width % 8 for width in widths):
            raise ValueError("features must be one to four widths, all widths multiples of 8")
        if self.stride not in (2, 4) or not 0 <= self.finest < len(self.features):
            raise ValueError("stride must be 2 or 4, and finest the number of a stage, from 0")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Layout:
        """Return what the arguments of a bundle's network state of it."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in arguments.items() if name in names})

    @property
    def levels(self) -> int:
        """How many levels the pyramid has."""
        return len(self.features) - self.finest

    def anchors(self, spatial_dims: int) -> tuple[tuple[int, ...], ...]:
        """Return the anchor sizes in voxels, one tuple of ``spatial_dims`` numbers each."""
        shapes = self.anchor_shapes
        if shapes is None:
            return ((_DEFAULT_ANCHOR,) * spatial_dims,)
        if not shapes or any(len(shape) != spatial_dims for shape in shapes):
            raise ValueError(f"anchor_shapes needs {spatial_dims} numbers for every anchor")
        return tuple(tuple(int(size) for size in shape) for shape in shapes)


class Pyramid(nn.Module):
    """Residual stages with a feature pyramid on top; stage ``i`` has stride ``stride * 2 ** i``.

    The first convolution of volumes halves them and there is no pooling: at 2.5 mm a nodule of 5 mm
    radius is four voxels wide, so the usual stride of 4 before the first stage would lose it.
    """

    def __init__(self, spatial_dims: int, in_channels: int, layout: Layout) -> None:
        super().__init__()
        features = list(layout.features)
        widths = [*features, *[features[-1]] * (4 - len(features))]
        stages = ResNet(
            block="basic",
            layers=[1] * 4,
            block_inplanes=widths,
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=2 * layout.stride - 1,
            conv1_t_stride=layout.stride,
            no_max_pool=True,
            feed_forward=False,
            # of the stem; MONAI's stages keep batch norm whatever is asked for
            norm=("group", {"num_groups": 8}),
        )
        self.stem = nn.Sequential(stages.conv1, stages.bn1, stages.act)
        self.stages = nn.ModuleList(
            [stages.layer1, stages.layer2, stages.layer3, stages.layer4][: len(features)]
        )
        self.finest = layout.finest
        self.out_channels = layout.pyramid_channels
        self.pyramid = FeaturePyramidNetwork(
            spatial_dims, features[layout.finest :], layout.pyramid_channels
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, C, *spatial) to one (B, pyramid_channels, *spatial / stride) per level."""
        maps: dict[str, Tensor] = {}
        features = self.stem(images)
        for level, stage in enumerate(self.stages):
            features = stage(features)
            if level >= self.finest:
                maps[str(level)] = features
        return list(self.pyramid(maps).values())


def network(
    *, spatial_dims: int, num_classes: int, in_channels: int = 1, **layout: Any
) -> nn.Module:
    """Build the trainable part. Its ``state_dict`` is what a bundle stores.

    Args:
        spatial_dims: 2 or 3.
        num_classes: labels, without background.
        in_channels: channels of the image.
        layout: see ``Layout``.

    """
    given = Layout(**layout)
    built = RetinaNet(
        spatial_dims=spatial_dims,
        num_classes=num_classes,
        num_anchors=len(given.anchors(spatial_dims)),
        feature_extractor=Pyramid(spatial_dims, in_channels, given),
        size_divisible=given.stride * 2 ** (len(given.features) - 1),
    )
    return cast("nn.Module", built)


def detector(trained: nn.Module, layout: Layout) -> retinanet_detector.RetinaNetDetector:
    """Wrap a network of ``network`` with its anchors, its matcher and its sampler.

    Only ``.network`` holds weights. Ready for ``detector(images, targets)`` in training mode and
    ``detector(images)`` in evaluation mode, see MONAI's ``RetinaNetDetector``.
    """
    _stand_in_for_torchvision()
    shapes = layout.anchors(int(cast("Any", trained).spatial_dims))
    scales = tuple(2**level for level in range(layout.levels))
    anchors = AnchorGeneratorWithAnchorShape(feature_map_scales=scales, base_anchor_shapes=shapes)
    built = retinanet_detector.RetinaNetDetector(network=trained, anchor_generator=anchors)
    # A box that lies evenly between anchors ties with 2 ** dims of them. ATSS keeps what reaches
    # mean + standard deviation of the candidates, which ties do only as less than half of them.
    candidates = _CANDIDATES[int(cast("Any", trained).spatial_dims)]
    built.set_atss_matcher(num_candidates=candidates, center_in_gt=False)
    built.set_hard_negative_sampler(
        batch_size_per_image=64, positive_fraction=0.3, pool_size=20, min_neg=16
    )
    built.set_target_keys(box_key="boxes", label_key="labels")
    return built


def build(spatial_dims: int, labels: int, **arguments: Any) -> retinanet_detector.RetinaNetDetector:
    """Build a fresh detector for ``labels`` classes: what training starts from.

    ``arguments`` are the optional ones of ``network``. Store
    ``{"spatial_dims": ..., "num_classes": labels, **arguments}`` as the bundle's network arguments
    and ``detector.network.state_dict()`` as its weights.
    """
    trainable = network(spatial_dims=spatial_dims, num_classes=labels, **arguments)
    return detector(trainable, Layout.of(arguments))


def _stand_in_for_torchvision() -> None:
    """Give MONAI two classes to compare with where torchvision is not installed.

    ``RetinaNetDetector`` asks ``isinstance(x, Matcher)`` of torchvision's class even when it was
    given MONAI's own matcher; without torchvision that name is no class and the question raises.
    """
    for name in ("Matcher", "BalancedPositiveNegativeSampler"):
        if not isinstance(getattr(retinanet_detector, name), type):
            setattr(retinanet_detector, name, type(name, (), {}))
