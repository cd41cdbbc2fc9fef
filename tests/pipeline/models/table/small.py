"""Small arguments for every row of the table, besides axes, channels and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.models.table.torchvision import TORCHVISION

_LEVELS = {"channels": [4, 8], "strides": [2]}
_DENSE = {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}
_SQUEEZED = {"layers": [1] * 4, "inplanes": 8}
_RESIDUAL = {"conv1_t_size": 3, "widen_factor": 0.125}
_TRANSFORMER = {"img_size": 32, "hidden_size": 12, "mlp_dim": 16, "num_heads": 3}
_LAYERS = [
    {"name": "conv_0", "n_features": 4, "kernel_size": 3},
    {"name": "res_1", "n_features": 4, "kernels": [3, 3], "repeat": 1},
    {"name": "conv_1", "n_features": 4, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
]
TRUNK: Final[Mapping[str, Any]] = {
    "backbone": "resnet18",
    "pyramid_channels": 16,
    "anchors": [8, 16, 32, 64, 128],
}
#: pixels along each axis that all of them take
SIZE: Final = 64
SMALL: Final[Mapping[str, Mapping[str, Any]]] = {
    "UNet": _LEVELS,
    "BasicUNet": {"features": [4] * 6},
    "BasicUNetPlusPlus": {"features": [4] * 6},
    "AttentionUnet": _LEVELS,
    "AHNet": {"layers": [1] * 4, "psp_block_num": 0},
    "VNet": {},
    "Quicknat": {"num_filters": 4},
    "DAF3D": {},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "SegResNetDS": {"init_filters": 4, "blocks_down": [1, 1], "norm": "instance"},
    "DynUNet": {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]},
    "FlexibleUNet": {"backbone": "efficientnet-b0", "decoder_channels": [16, 8, 8, 4, 4]},
    "MedNeXt": {"init_filters": 4, "kernel_size": 3, "blocks_down": [1] * 4, "blocks_up": [1] * 4},
    **{f"MedNeXt{size}": {"kernel_size": 3} for size in "SBML"},
    "HighResNet": {"layer_params": _LAYERS},
    "AutoEncoder": {"channels": [4, 8], "strides": [1, 2]},
    "SwinUNETR": {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4},
    "UNETR": {**_TRANSFORMER, "img_size": SIZE, "feature_size": 4},
    "ViTAutoEnc": {**_TRANSFORMER, "img_size": SIZE, "patch_size": 16, "num_layers": 2},
    "Restormer": {"dim": 8, "num_refinement_blocks": 1},
    "DenseNet": _DENSE,
    **{f"DenseNet{layers}": _DENSE for layers in (121, 169, 201, 264)},
    "SENet": {"block": "se_bottleneck", "layers": [1] * 4, "groups": 1, "reduction": 4},
    "SENet154": {"layers": [1] * 4, "groups": 4, "inplanes": 8},
    "SEResNet50": _SQUEEZED,
    "SEResNet101": _SQUEEZED,
    "SEResNet152": _SQUEEZED,
    "SEResNext50": _SQUEEZED,
    "SEResNext101": _SQUEEZED,
    "ResNet": {"block": "basic", "layers": [1] * 4, "block_inplanes": [4, 8, 8, 8]},
    **{f"resnet{layers}": _RESIDUAL for layers in (10, 18, 34, 50, 101, 152, 200)},
    "EfficientNetBN": {"model_name": "efficientnet-b0"},
    "EfficientNet": {"blocks_args_str": ["r1_k3_s11_e1_i32_o16_se0.25"]},
    "ViT": {**_TRANSFORMER, "img_size": SIZE, "patch_size": 16, "num_layers": 2},
    **{name: {} for name in TORCHVISION},
    "torchvision.fcn": {"backbone": "resnet18"},
    "torchvision.deeplabv3": {"backbone": "resnet18"},
    "torchvision.faster_rcnn": {**TRUNK, "representation": 16},
    "torchvision.mask_rcnn": {**TRUNK, "representation": 16},
    "torchvision.retinanet": TRUNK,
    "RetinaNet": {"features": [8, 8], "pyramid_channels": 8},
    "SubpixelNet": {"features": [4]},
    "SPPNet": {"features": [4, 8], "levels": [1, 2]},
    "CNNLSTM": {"features": [4, 8], "hidden": 6},
    "AttentionMIL": {"features": [4, 8], "hidden": 6},
    "AttentionGatedNet": {"features": [4, 8, 8]},
    "SEUNet": {"features": [4, 8], "reduction": 2},
    "EDSR": {"features": 4, "blocks": 1},
    "RCAN": {"features": 4, "groups": 1, "blocks": 1, "reduction": 2},
    "SRResNet": {"features": 4, "blocks": 1},
    "DenoisingAutoEncoder": {"features": [4, 8]},
    "EarlyFusion": {"features": [4, 8]},
    "LateFusion": {"features": [4, 8]},
    "JointFusion": {"features": [4, 8], "hidden": 4},
    "FiLMNet": {"values": 2, "features": [4, 8], "hidden": 4},
}
