"""Networks by name: the only way from a bundle's metadata to code.

A bundle names a row of ``TABLE`` and gives keyword arguments as plain data. Nothing is evaluated
and nothing is imported by a name that comes from a bundle. Importing this module does not import
torch, so that roles without it can still check metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

#: Larger numbers are not widths or depths of a network but an attempt to exhaust the machine.
LARGEST_ARGUMENT = 8192


@dataclass(frozen=True, kw_only=True)
class Network:
    """One row: where MONAI (or we) define the class, and which arguments a bundle may give."""

    #: attribute of ``monai.networks.nets``, or "" for a network of ours
    class_name: str
    #: arguments a bundle may give, besides the three below
    parameters: frozenset[str]
    spatial_dims: str = "spatial_dims"
    in_channels: str = "in_channels"
    #: the argument that holds the number of output channels
    outputs: str = "out_channels"
    #: arguments a bundle cannot give: whatever would fetch weights stays off
    fixed: Mapping[str, Any] = field(default_factory=dict)
    #: whether the class can be built without memory; some compute with tensors while building
    is_lazy: bool = True

    @property
    def allowed(self) -> frozenset[str]:
        """Every argument name a bundle may give."""
        return self.parameters | {self.spatial_dims, self.in_channels, self.outputs}


def _row(class_name: str, parameters: str, **others: Any) -> Network:
    return Network(class_name=class_name, parameters=frozenset(parameters.split()), **others)


_DENSENET = "init_features growth_rate block_config bn_size act norm dropout_prob"
_SENET = "layers groups reduction inplanes downsample_kernel_size input_3x3"
_OFFLINE = {"pretrained": False}
_UNET = "channels strides kernel_size up_kernel_size"

TABLE: Mapping[str, Network] = {
    "UNet": _row("UNet", f"{_UNET} num_res_units act norm dropout bias adn_ordering"),
    "BasicUNet": _row("BasicUNet", "features act norm bias dropout upsample"),
    "AttentionUnet": _row("AttentionUnet", f"{_UNET} dropout"),
    "VNet": _row("VNet", "act dropout_prob_down dropout_prob_up dropout_dim bias"),
    "SegResNet": _row(
        "SegResNet",
        "init_filters dropout_prob act norm use_conv_final blocks_down blocks_up upsample_mode",
    ),
    "DynUNet": _row(
        "DynUNet",
        "kernel_size strides upsample_kernel_size filters dropout norm_name act_name "
        "deep_supervision deep_supr_num res_block trans_bias",
    ),
    "SegResNetDS": _row(
        "SegResNetDS",
        "init_filters act norm blocks_down blocks_up dsdepth upsample_mode resolution",
    ),
    "FlexibleUNet": _row(
        "FlexibleUNet",
        "backbone decoder_channels norm act dropout decoder_bias upsample pre_conv interp_mode "
        "is_pad",
        fixed=_OFFLINE,
    ),
    "MedNeXt": _row(
        "MedNeXt",
        "init_filters encoder_expansion_ratio decoder_expansion_ratio bottleneck_expansion_ratio "
        "kernel_size deep_supervision use_residual_connection blocks_down blocks_bottleneck "
        "blocks_up norm_type global_resp_norm",
    ),
    "HighResNet": _row(
        "HighResNet", "norm_type acti_type dropout_prob bias layer_params channel_matching"
    ),
    "AutoEncoder": _row(
        "AutoEncoder",
        f"{_UNET} num_res_units inter_channels inter_dilations num_inter_units act norm dropout "
        "bias padding",
    ),
    "SwinUNETR": _row(
        "SwinUNETR",
        "patch_size depths num_heads window_size qkv_bias mlp_ratio feature_size norm_name "
        "drop_rate attn_drop_rate dropout_path_rate normalize patch_norm downsample use_v2",
        is_lazy=False,
    ),
    "UNETR": _row(
        "UNETR",
        "img_size feature_size hidden_size mlp_dim num_heads proj_type norm_name conv_block "
        "res_block dropout_rate qkv_bias",
    ),
    "DenseNet": _row("DenseNet", _DENSENET),
    "DenseNet121": _row("DenseNet121", _DENSENET, fixed=_OFFLINE),
    "DenseNet169": _row("DenseNet169", _DENSENET, fixed=_OFFLINE),
    "DenseNet201": _row("DenseNet201", _DENSENET, fixed=_OFFLINE),
    "DenseNet264": _row("DenseNet264", _DENSENET, fixed=_OFFLINE),
    "SEResNet50": _row("SEResNet50", _SENET, outputs="num_classes", fixed=_OFFLINE),
    "SEResNext50": _row("SEResNext50", _SENET, outputs="num_classes", fixed=_OFFLINE),
    "ResNet": _row(
        "ResNet",
        "block layers block_inplanes conv1_t_size conv1_t_stride no_max_pool shortcut_type "
        "widen_factor bias_downsample act norm",
        in_channels="n_input_channels",
        outputs="num_classes",
    ),
    "EfficientNetBN": _row(
        "EfficientNetBN",
        "model_name norm adv_prop",
        outputs="num_classes",
        fixed=_OFFLINE,
    ),
    "SubpixelNet": _row("", "scale features"),
    "RetinaNet": _row("", "features pyramid_channels anchor_shapes", outputs="num_classes"),
}


def faults(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """Say everything that is wrong with a network's name and arguments, in sentences."""
    row = TABLE.get(name)
    if row is None:
        return [f"network {name!r} is not one of {', '.join(sorted(TABLE))}"]
    found = [
        f"network {name} has no argument {argument!r}; it knows {', '.join(sorted(row.allowed))}"
        for argument in sorted(set(arguments) - row.allowed)
    ]
    found += [
        f"network {name} needs the argument {needed!r}"
        for needed in (row.spatial_dims, row.in_channels, row.outputs)
        if needed not in arguments
    ]
    found += [
        f"network argument {argument!r} holds a number beyond {LARGEST_ARGUMENT}"
        for argument, value in arguments.items()
        if _largest(value) > LARGEST_ARGUMENT
    ]
    return found


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build the network, with fresh weights, in training mode.

    Raises:
        ValueError: the name or an argument is not in the table, or the class refuses a value.

    """
    found = faults(name, arguments)
    if found:
        raise ValueError("; ".join(found))
    row = TABLE[name]
    if not row.class_name:
        from pipeline.models import retinanet, subpixel

        ours: Mapping[str, Callable[..., nn.Module]]
        ours = {"RetinaNet": retinanet.network, "SubpixelNet": subpixel.network}
        return ours[name](**arguments)
    from monai.networks import nets

    built: nn.Module = getattr(nets, row.class_name)(**_tuples(arguments), **row.fixed)
    return built


def _tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Turn JSON's lists into the tuples that MONAI writes, e.g. ``("group", {"num_groups": 8})``.

    Only where the first item is a name: MONAI's ResNet insists on lists for its layers.
    """
    return {
        argument: tuple(value)
        if isinstance(value, list) and value and isinstance(value[0], str)
        else value
        for argument, value in arguments.items()
    }


def _largest(value: object) -> float:
    if isinstance(value, bool):
        return 0.0
    if isinstance(value, int | float):
        return abs(value) if value == value else float("inf")  # noqa: PLR0124, NaN is not itself
    if isinstance(value, Mapping):
        return max(map(_largest, value.values()), default=0.0)
    if isinstance(value, list | tuple):
        return max(map(_largest, value), default=0.0)
    return 0.0
