"""torchvision's networks, in two axes, beside MONAI's of the same names: ``torchvision.resnet18``.

They are built by functions of ours, because torchvision's own know three channels only and fetch
weights unless told otherwise. Left out are Inception and GoogLeNet, which have answers for their
training alone, and keypoints, which are no result of a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.config.tables.entry import Entry
from pipeline.config.tables.entry import Kind as What
from pipeline.models.spec import Kind
from pipeline.models.table.row import BOXES, CLASSES, SEGMENTS, Row, row

_NETWORKS: Final = "pipeline.networks.torchvision_networks"
_DETECTORS: Final = "pipeline.networks.torchvision_detectors"
#: families, and the arguments of theirs that a bundle may give
_CLASSIFIERS: Final[Mapping[str, str]] = {
    "resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d "
    "resnext101_64x4d wide_resnet50_2 wide_resnet101_2": "zero_init_residual",
    "vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn": "dropout",
    "densenet121 densenet161 densenet169 densenet201": "bn_size drop_rate",
    "efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 "
    "efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m "
    "efficientnet_v2_l": "dropout stochastic_depth_prob",
}
_TRUNK: Final = "backbone pyramid_channels anchors mean std"


def _torchvision(
    builder: str, kinds: frozenset[Kind], parameters: str, architecture: str = "", **others: Any
) -> Row:
    module, _, attribute = builder.rpartition(".")
    fixed = {"architecture": architecture} if architecture else {}
    entry = Entry(module=module, attribute=attribute, kind=What.NETWORK, fixed=fixed)
    return row(entry, kinds, parameters, outputs="num_classes", axes=(2,), **others)


TORCHVISION: Mapping[str, Row] = {
    **{
        f"torchvision.{name}": _torchvision(f"{_NETWORKS}.classifier", CLASSES, parameters, name)
        for names, parameters in _CLASSIFIERS.items()
        for name in names.split()
    },
    **{
        f"torchvision.{name}": _torchvision(
            f"{_NETWORKS}.segmenter", SEGMENTS, "backbone", name, answer="out"
        )
        for name in ("fcn", "deeplabv3")
    },
    "torchvision.faster_rcnn": _torchvision(
        f"{_DETECTORS}.faster_rcnn", BOXES, f"{_TRUNK} representation"
    ),
    "torchvision.mask_rcnn": _torchvision(
        f"{_DETECTORS}.mask_rcnn", SEGMENTS, f"{_TRUNK} representation", finds_objects=True
    ),
    "torchvision.retinanet": _torchvision(f"{_DETECTORS}.retinanet", BOXES, _TRUNK),
}
