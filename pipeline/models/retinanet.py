"""A small RetinaNet for boxes in 2-D and 3-D, out of MONAI's parts and without torchvision.

MONAI's own factory asks torchvision for three names it does not need here. We build the feature
pyramid ourselves and train with ATSS matching (Zhang et al., CVPR 2020) and hard negative sampling,
which are MONAI's. Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from monai.apps.detection.networks import retinanet_detector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

DEFAULT_FEATURES = (16, 32)
DEFAULT_PYRAMID_CHANNELS = 16
DEFAULT_ANCHOR = 6
_CANDIDATES = {2: 10, 3: 20}


class Pyramid(nn.Module):
    """Residual stages with a feature pyramid on top; level ``i`` has stride ``2 ** (i + 1)``.

    The first convolution halves the image and there is no pooling: at 2.5 mm a nodule of 5 mm
    radius is four voxels wide, so the usual stride of 4 before the first level would lose it.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, features: Sequence[int], pyramid_channels: int
    ) -> None:
        super().__init__()
        widths = [*features, *[features[-1]] * (4 - len(features))]
        stages = ResNet(
            block="basic",
            layers=[1] * 4,
            block_inplanes=widths,
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=3,
            conv1_t_stride=2,
            no_max_pool=True,
            feed_forward=False,
            # not batch norm: a training batch of two volumes has no statistics worth keeping
            norm=("group", {"num_groups": 8}),
        )
        self.stem = nn.Sequential(stages.conv1, stages.bn1, stages.act)
        self.stages = nn.ModuleList(
            [stages.layer1, stages.layer2, stages.layer3, stages.layer4][: len(features)]
        )
        self.pyramid = FeaturePyramidNetwork(spatial_dims, list(features), pyramid_channels)
        self.out_channels = pyramid_channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, C, *spatial) to one (B, pyramid_channels, *spatial / stride) per level."""
        maps: dict[str, Tensor] = {}
        features = self.stem(images)
        for level, stage in enumerate(self.stages):
            features = stage(features)
            maps[str(level)] = features
        return list(self.pyramid(maps).values())


def network(
    *,
    spatial_dims: int,
    num_classes: int,
    in_channels: int = 1,
    features: Sequence[int] = DEFAULT_FEATURES,
    pyramid_channels: int = DEFAULT_PYRAMID_CHANNELS,
    anchor_shapes: Sequence[Sequence[int]] | None = None,
) -> nn.Module:
    """Build the trainable part. Its ``state_dict`` is what a bundle stores.

    Args:
        spatial_dims: 2 or 3.
        num_classes: labels, without background.
        in_channels: channels of the image.
        features: width of each residual stage, one to four, multiples of 8.
        pyramid_channels: width of the pyramid and of the heads, a multiple of 8.
        anchor_shapes: box sizes in voxels of the input at the finest level, each with
            ``spatial_dims`` numbers; every further level doubles them. Default: one cube of 6.

    """
    if not 1 <= len(features) <= 4 or any(width % 8 for width in (*features, pyramid_channels)):
        raise ValueError("features must be one to four widths, all widths multiples of 8")
    extractor = Pyramid(spatial_dims, in_channels, features, pyramid_channels)
    built = RetinaNet(
        spatial_dims=spatial_dims,
        num_classes=num_classes,
        num_anchors=len(_anchors(spatial_dims, anchor_shapes)),
        feature_extractor=extractor,
        size_divisible=2 ** len(features),
    )
    return cast("nn.Module", built)


def detector(
    trained: nn.Module, *, levels: int, anchor_shapes: Sequence[Sequence[int]] | None = None
) -> retinanet_detector.RetinaNetDetector:
    """Wrap a network of ``network`` with its anchors, its matcher and its sampler.

    Only ``.network`` holds weights. Ready for ``detector(images, targets)`` in training mode and
    ``detector(images)`` in evaluation mode, see MONAI's ``RetinaNetDetector``.
    """
    _stand_in_for_torchvision()
    shapes = _anchors(int(cast("Any", trained).spatial_dims), anchor_shapes)
    scales = tuple(2**level for level in range(levels))
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
    return detector(
        trainable,
        levels=len(arguments.get("features", DEFAULT_FEATURES)),
        anchor_shapes=arguments.get("anchor_shapes"),
    )


def _anchors(
    spatial_dims: int, shapes: Sequence[Sequence[int]] | None
) -> tuple[tuple[int, ...], ...]:
    """Return the anchor sizes in voxels, one tuple of ``spatial_dims`` numbers each."""
    if shapes is None:
        return ((DEFAULT_ANCHOR,) * spatial_dims,)
    if not shapes or any(len(shape) != spatial_dims for shape in shapes):
        raise ValueError(f"anchor_shapes needs {spatial_dims} numbers for every anchor")
    return tuple(tuple(int(size) for size in shape) for shape in shapes)


def _stand_in_for_torchvision() -> None:
    """Give MONAI two classes to compare with where torchvision is not installed.

    ``RetinaNetDetector`` asks ``isinstance(x, Matcher)`` of torchvision's class even when it was
    given MONAI's own matcher; without torchvision that name is no class and the question raises.
    """
    for name in ("Matcher", "BalancedPositiveNegativeSampler"):
        if not isinstance(getattr(retinanet_detector, name), type):
            setattr(retinanet_detector, name, type(name, (), {}))
