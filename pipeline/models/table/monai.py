"""MONAI's networks that answer for a study with one tensor: all that segment, classify or restore.

Where a class is defined and what a bundle cannot set is said once, in the table of what a MONAI
configuration may build (``pipeline.config.tables.networks``); a row adds what metadata needs to
check a bundle without torch. That table holds far more (blocks, aliases, networks that only a
configuration can put together), so neither list is the other.

Not here:

- HoVerNet answers with several maps that its own postprocessing joins, DiNTS needs a topology that
  a file holds, VISTA3D a prompt: a configuration runs them.
- SegResNetVAE, SegResNetDS2 and MaskedAutoEncoderViT have answers for their training alone.
- VoxelMorph, RegUNet, LocalNet and GlobalNet register two images. AutoencoderKL, VQVAE,
  VarAutoEncoder, the diffusion networks, SPADE's, Generator, Discriminator, Critic and
  PatchDiscriminator are for making images. Regressor, FullyConnectedNet and DecoderOnlyTransformer
  answer for no image with labels.
- MILModel, Transchex, CellSamWrapper and ResNetFeatures fetch weights or ask for libraries that we
  do not have (transformers, segment_anything), HyenaNDUNETR for nvsubquadratic.
- TorchVisionFCModel and NetAdapter wrap networks of torchvision, which have rows of their own.
- Classifier is told the shape of its images instead of axes and channels, NaViT takes lists of
  images instead of a batch.
- EfficientNetBNFeatures, SENet's and ResNet's parts are backbones, not answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pipeline.config.tables.lookup import find
from pipeline.config.tables.networks import NETS
from pipeline.models.spec import Kind
from pipeline.models.table.row import CLASSES, IMAGES, MAPS, SEGMENTS, Row, row


def _monai(
    name: str,
    kinds: frozenset[Kind],
    parameters: str,
    fixed: Mapping[str, Any] = MappingProxyType({}),
    **others: Any,
) -> Row:
    entry = find(f"{NETS}.{name}")
    if entry is None:
        raise LookupError(f"the tables of configurations have no {name}")
    held = replace(entry, fixed={**entry.fixed, **fixed})
    return row(held, kinds, parameters, **others)


_UNET = "channels strides kernel_size up_kernel_size"
_BASIC_UNET = "features act norm bias dropout upsample"
_MEDNEXT = "kernel_size deep_supervision use_residual_connection norm_type global_resp_norm"
_DENSENET = "init_features growth_rate block_config bn_size act norm dropout_prob"
_SENET = "layers groups reduction inplanes downsample_kernel_size input_3x3"
_RESNET = (
    "conv1_t_size conv1_t_stride no_max_pool shortcut_type widen_factor bias_downsample act norm"
)
_TRANSFORMER = "img_size hidden_size mlp_dim num_heads proj_type dropout_rate qkv_bias"

_FOR_EACH_VOXEL: Mapping[str, Row] = {
    "UNet": _monai("UNet", MAPS, f"{_UNET} num_res_units act norm dropout bias adn_ordering"),
    "BasicUNet": _monai("BasicUNet", MAPS, _BASIC_UNET),
    "BasicUNetPlusPlus": _monai("BasicUNetPlusPlus", MAPS, _BASIC_UNET, answer=-1),
    "AttentionUnet": _monai("AttentionUnet", MAPS, f"{_UNET} dropout"),
    "AHNet": _monai("AHNet", MAPS, "layers psp_block_num upsample_mode"),
    "VNet": _monai("VNet", MAPS, "act dropout_prob_down dropout_prob_up dropout_dim bias"),
    "Quicknat": _monai(
        "Quicknat",
        SEGMENTS,
        "num_filters kernel_size kernel_c stride_conv pool stride_pool se_block drop_out act norm "
        "adn_ordering",
        in_channels="num_channels",
        outputs="num_classes",
        axes=(2,),
        takes_axes=False,
    ),
    "DAF3D": _monai("DAF3D", SEGMENTS, "", axes=(3,), takes_axes=False),
    "SegResNet": _monai(
        "SegResNet",
        MAPS,
        "init_filters dropout_prob act norm use_conv_final blocks_down blocks_up upsample_mode",
    ),
    "SegResNetDS": _monai(
        "SegResNetDS",
        MAPS,
        "init_filters act norm blocks_down blocks_up dsdepth upsample_mode resolution",
    ),
    "DynUNet": _monai(
        "DynUNet",
        MAPS,
        "kernel_size strides upsample_kernel_size filters dropout norm_name act_name "
        "deep_supervision deep_supr_num res_block trans_bias",
    ),
    "FlexibleUNet": _monai(
        "FlexibleUNet",
        MAPS,
        "backbone decoder_channels norm act dropout decoder_bias upsample pre_conv interp_mode "
        "is_pad",
    ),
    "MedNeXt": _monai(
        "MedNeXt",
        MAPS,
        f"{_MEDNEXT} init_filters encoder_expansion_ratio decoder_expansion_ratio "
        "bottleneck_expansion_ratio blocks_down blocks_bottleneck blocks_up",
    ),
    **{f"MedNeXt{size}": _monai(f"MedNeXt{size}", MAPS, _MEDNEXT) for size in "SBML"},
    "HighResNet": _monai(
        "HighResNet", MAPS, "norm_type acti_type dropout_prob bias layer_params channel_matching"
    ),
    "AutoEncoder": _monai(
        "AutoEncoder",
        MAPS,
        f"{_UNET} num_res_units inter_channels inter_dilations num_inter_units act norm dropout "
        "bias padding",
    ),
    "SwinUNETR": _monai(
        "SwinUNETR",
        MAPS,
        "patch_size depths num_heads window_size qkv_bias mlp_ratio feature_size norm_name "
        "drop_rate attn_drop_rate dropout_path_rate normalize patch_norm downsample use_v2",
        is_lazy=False,
    ),
    "UNETR": _monai("UNETR", MAPS, f"{_TRANSFORMER} feature_size norm_name conv_block res_block"),
    "ViTAutoEnc": _monai(
        "ViTAutoEnc", IMAGES, f"{_TRANSFORMER} patch_size num_layers deconv_chns", answer=0
    ),
    "Restormer": _monai(
        "Restormer",
        MAPS,
        "dim num_blocks heads num_refinement_blocks ffn_expansion_factor bias layer_norm_use_bias "
        "dual_pixel_task",
    ),
}
_FOR_EACH_LABEL: Mapping[str, Row] = {
    "DenseNet": _monai("DenseNet", CLASSES, _DENSENET),
    **{
        f"DenseNet{layers}": _monai(f"DenseNet{layers}", CLASSES, _DENSENET)
        for layers in (121, 169, 201, 264)
    },
    "SENet": _monai(
        "SENet", CLASSES, f"{_SENET} block dropout_prob dropout_dim", outputs="num_classes"
    ),
    **{
        name: _monai(name, CLASSES, _SENET, outputs="num_classes")
        for name in (
            "SENet154",
            "SEResNet50",
            "SEResNet101",
            "SEResNet152",
            "SEResNext50",
            "SEResNext101",
        )
    },
    "ResNet": _monai(
        "ResNet",
        CLASSES,
        f"{_RESNET} block layers block_inplanes",
        in_channels="n_input_channels",
        outputs="num_classes",
    ),
    **{
        f"resnet{layers}": _monai(
            f"resnet{layers}",
            CLASSES,
            _RESNET,
            in_channels="n_input_channels",
            outputs="num_classes",
        )
        for layers in (10, 18, 34, 50, 101, 152, 200)
    },
    "EfficientNetBN": _monai(
        "EfficientNetBN", CLASSES, "model_name norm adv_prop", outputs="num_classes"
    ),
    "EfficientNet": _monai(
        "EfficientNet",
        CLASSES,
        "blocks_args_str width_coefficient depth_coefficient dropout_rate image_size norm "
        "drop_connect_rate depth_divisor",
        outputs="num_classes",
    ),
    "ViT": _monai(
        "ViT",
        CLASSES,
        f"{_TRANSFORMER} patch_size num_layers pos_embed_type post_activation",
        outputs="num_classes",
        fixed={"classification": True},
        answer=0,
    ),
}
MONAI: Mapping[str, Row] = {**_FOR_EACH_VOXEL, **_FOR_EACH_LABEL}
