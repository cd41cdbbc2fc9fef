"""Networks and their parts that a configuration may build. Nothing here fetches weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NETS = "monai.networks.nets"
#: by module of ``monai.networks.nets``. Left out: MILModel and Transchex, which fetch weights or
#: configurations of other libraries, and what is no network of its own
_NAMES = {
    "ahnet": "AHNet AHnet Ahnet",
    "attentionunet": "AttentionUnet",
    "autoencoder": "AutoEncoder",
    "autoencoderkl": "AutoencoderKL",
    "basic_unet": "BasicUNet BasicUnet Basicunet basicunet",
    "basic_unetplusplus": "BasicUNetPlusPlus BasicUnetPlusPlus BasicunetPlusPlus",
    "cell_sam_wrapper": "CellSamWrapper",
    "classifier": "Classifier Critic Discriminator",
    "controlnet": "ControlNet",
    "daf3d": "DAF3D",
    "densenet": "DenseNet Densenet DenseNet121 Densenet121 densenet121 DenseNet169 Densenet169 "
    "densenet169 DenseNet201 Densenet201 densenet201 DenseNet264 Densenet264 densenet264",
    "diffusion_model_unet": "DiffusionModelUNet",
    "dints": "DiNTS TopologyInstance",
    "dynunet": "DynUNet DynUnet Dynunet",
    "efficientnet": "EfficientNet EfficientNetBN EfficientNetBNFeatures",
    "flexible_unet": "FlexibleUNet FlexUNet",
    "fullyconnectednet": "FullyConnectedNet VarFullyConnectedNet",
    "generator": "Generator",
    "highresnet": "HighResNet",
    "hovernet": "HoVerNet HoVernet Hovernet HoverNet",
    "masked_autoencoder_vit": "MaskedAutoEncoderViT",
    "navit": "NaViT",
    "mednext": "MedNeXt MedNext MedNeXtS MedNextS MedNeXtSmall MedNextSmall MedNeXtB MedNextB "
    "MedNextBase MedNeXtM MedNextM MedNeXtMedium MedNextMedium MedNeXtL MedNextL MedNeXtLarge "
    "MedNextLarge",
    "netadapter": "NetAdapter",
    "patchgan_discriminator": "PatchDiscriminator MultiScalePatchDiscriminator",
    "quicknat": "Quicknat",
    "regressor": "Regressor",
    "regunet": "GlobalNet LocalNet RegUNet",
    "restormer": "Restormer",
    "resnet": "ResNet ResNetFeatures resnet10 resnet18 resnet34 resnet50 resnet101 resnet152 "
    "resnet200",
    "segresnet": "SegResNet SegResNetVAE",
    "segresnet_ds": "SegResNetDS SegResNetDS2",
    "senet": "SENet SEnet Senet SENet154 SEnet154 Senet154 senet154 "
    "SEResNet50 SEresnet50 Seresnet50 seresnet50 SEResNet101 SEresnet101 Seresnet101 seresnet101 "
    "SEResNet152 SEresnet152 Seresnet152 seresnet152 "
    "SEResNext50 SEResNeXt50 SEresnext50 Seresnext50 seresnext50 "
    "SEResNext101 SEResNeXt101 SEresnext101 Seresnext101 seresnext101",
    "spade_autoencoderkl": "SPADEAutoencoderKL",
    "spade_diffusion_model_unet": "SPADEDiffusionModelUNet",
    "spade_network": "SPADENet",
    "swin_unetr": "SwinUNETR",
    "torchvision_fc": "TorchVisionFCModel",
    "transformer": "DecoderOnlyTransformer",
    "unet": "UNet Unet",
    "unetr": "UNETR",
    "varautoencoder": "VarAutoEncoder",
    "vista3d": "VISTA3D vista3d132",
    "vit": "ViT",
    "vitautoenc": "ViTAutoEnc",
    "vnet": "VNet",
    "voxelmorph": "VoxelMorph VoxelMorphUNet",
    "vqvae": "VQVAE",
}
_BLOCKS = {
    "acti_norm": "ADN",
    "activation": "GEGLU MemoryEfficientSwish Mish Swish",
    "aspp": "SimpleASPP",
    "backbone_fpn_utils": "BackboneWithFPN",
    "convolutions": "Convolution ResidualUnit",
    "downsample": "DownSample MaxAvgPool SubpixelDownsample",
    "dynunet_block": "UnetBasicBlock UnetOutBlock UnetResBlock UnetUpBlock",
    "mlp": "MLPBlock",
    "segresnet_block": "ResBlock",
    "squeeze_and_excitation": "ChannelSELayer ResidualSELayer SEBlock",
    "upsample": "SubpixelUpsample UpSample",
    "warp": "DVF2DDF Warp",
}
_TORCH = (
    "ReLU ReLU6 LeakyReLU PReLU ELU CELU SELU GELU SiLU Mish Hardswish Sigmoid LogSigmoid Softmax "
    "LogSoftmax Softplus Tanh Identity Flatten Linear Dropout Dropout2d Dropout3d "
    "Conv1d Conv2d Conv3d ConvTranspose2d ConvTranspose3d Upsample PixelShuffle "
    "AvgPool2d AvgPool3d MaxPool2d MaxPool3d AdaptiveAvgPool2d AdaptiveAvgPool3d "
    "BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d GroupNorm "
    "LayerNorm"
)
_MAISI = "monai.apps.generation.maisi.networks"
#: packages, and the names below each
PACKAGES: Mapping[str, Mapping[str, str]] = {
    NETS: _NAMES,
    "monai.networks.blocks": _BLOCKS,
    "torch.nn": {"": _TORCH},
    "monai.apps.detection.networks": {
        "retinanet_network": "RetinaNet resnet_fpn_feature_extractor",
        "retinanet_detector": "RetinaNetDetector",
    },
    "monai.apps.detection.utils": {
        "anchor_utils": "AnchorGenerator AnchorGeneratorWithAnchorShape"
    },
    f"{_MAISI}.autoencoderkl_maisi": {"": "AutoencoderKlMaisi"},
    f"{_MAISI}.controlnet_maisi": {"": "ControlNetMaisi"},
    f"{_MAISI}.diffusion_model_unet_maisi": {"": "DiffusionModelUNetMaisi"},
}

_UNTRAINED = {"fixed": {"pretrained": False}}
_HOVERNET = {"fixed": {"pretrained_url": None, "pretrained_state_dict_key": None}}
#: torchvision looks its models up by name; these are the names that TorchVisionFCModel is for
_TORCHVISION = frozenset(
    [
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnext50_32x4d",
        "resnext101_32x8d",
        "wide_resnet50_2",
        "wide_resnet101_2",
        "inception_v3",
        "densenet121",
        "vgg16",
        "mobilenet_v2",
    ]
)
SPECIAL: Mapping[str, Mapping[str, Any]] = {
    **{
        name: _UNTRAINED
        for module in ("ahnet", "densenet", "flexible_unet", "resnet", "senet")
        for name in _NAMES[module].split()
        if name not in {"DenseNet", "Densenet", "ResNet", "SENet", "SEnet", "Senet"}
    },
    **dict.fromkeys(("EfficientNetBN", "EfficientNetBNFeatures"), _UNTRAINED),
    **dict.fromkeys(_NAMES["hovernet"].split(), _HOVERNET),
    "TorchVisionFCModel": {
        "fixed": {"pretrained": False, "weights": None},
        "choices": {"model_name": _TORCHVISION},
        "library": "torchvision",
    },
    "CellSamWrapper": {"fixed": {"checkpoint": None}, "library": "segment_anything"},
    "SwinUNETR": {"ignored": frozenset({"img_size"})},
    "resnet_fpn_feature_extractor": {
        "fixed": {"pretrained_backbone": False},
        "library": "torchvision",
    },
}
