"""One bundle of each kind, in the forms that public bundles have; tiny networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.models.spec import InputSpec, Kind
from tests.pipeline.models.program.bundles import Case, configuration, step

CT = InputSpec(modalities=("CT",), spatial_dims=3)
MR4 = InputSpec(modalities=("MR",), spatial_dims=3, channels=4)
PHOTO = InputSpec(modalities=("XC",), spatial_dims=2, channels=3)
GREY = InputSpec(modalities=("DX",), spatial_dims=2)


def unet(inputs: int, outputs: int, dims: int = 3) -> dict[str, Any]:
    return {
        "_target_": "UNet",
        "spatial_dims": dims,
        "in_channels": inputs,
        "out_channels": outputs,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
        "norm": "batch",
    }


def windows(size: int = 16, **others: Any) -> dict[str, Any]:
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": [size] * 3,
        "sw_batch_size": 2,
        "overlap": 0.5,
        **others,
    }


def invert(**others: Any) -> dict[str, Any]:
    return step(
        "Invertd",
        "pred",
        transform="@preprocessing",
        orig_keys="@image_key",
        **{"nearest_interp": False, "to_tensor": True, **others},
    )


def with_steps(case: Case, *more: dict[str, Any]) -> Case:
    """Return a case whose preprocessing goes on."""
    preprocessing = case.config["preprocessing"]
    longer = {**preprocessing, "transforms": [*preprocessing["transforms"], *more]}
    return replace(case, config={**case.config, "preprocessing": longer})


WRITE = step(
    "SaveImaged", "pred", output_dir="$@bundle_root + '/eval'", output_ext=".png", scale=255
)
LOAD = (step("LoadImaged"), step("EnsureChannelFirstd"))
ON_GRID = (
    step("Orientationd", axcodes="RAS", labels=None),
    step("Spacingd", pixdim=[1.5, 1.5, 2.0], mode="bilinear"),
)
WINDOWED = step("ScaleIntensityRanged", a_min=-400, a_max=400, b_min=0.0, b_max=1.0, clip=True)

ORGANS = Case(
    config=configuration(
        unet(1, 4),
        [*LOAD, *ON_GRID, WINDOWED, step("EnsureTyped")],
        [
            step("Activationsd", "pred", softmax=True),
            invert(),
            step("AsDiscreted", "pred", argmax=True),
        ],
        windows(),
    ),
    kind=Kind.SEGMENTATION,
    labels=("liver", "spleen", "pancreas"),
    input=CT,
)
#: one step that does nothing, and it is no program of the usual form
ORGANS_AS_WRITTEN = with_steps(ORGANS, step("Identityd"))
#: the usual form in its other parts: cropped, gaussian windows, logits interpolated
ORGANS_CROPPED = Case(
    config=configuration(
        unet(1, 4),
        [
            *LOAD,
            *ON_GRID,
            WINDOWED,
            step("CropForegroundd", source_key="@image_key"),
            step("CastToTyped", dtype="$torch.float32"),
        ],
        [invert(), step("AsDiscreted", "pred", argmax=True), WRITE],
        windows(mode="gaussian"),
    ),
    kind=Kind.SEGMENTATION,
    labels=("liver", "spleen", "pancreas"),
    input=CT,
)
#: cropped to the foreground, gaussian windows, label numbers inverted by the nearest
CROPPED = Case(
    config=configuration(
        unet(1, 4),
        [
            *LOAD,
            *ON_GRID,
            WINDOWED,
            step("CropForegroundd", source_key="@image_key"),
            step("NormalizeIntensityd", nonzero=True),
        ],
        [step("AsDiscreted", "pred", argmax=True), invert(nearest_interp=True)],
        windows(mode="gaussian", padding_mode="replicate"),
    ),
    kind=Kind.SEGMENTATION,
    labels=("liver", "spleen", "pancreas"),
    input=CT,
)
#: never inverted: the writer of files would resample it
NOT_INVERTED = Case(
    config=configuration(
        unet(1, 3),
        [*LOAD, *ON_GRID, WINDOWED],
        [step("AsDiscreted", "pred", argmax=True)],
        windows(),
    ),
    kind=Kind.SEGMENTATION,
    labels=("liver", "spleen"),
    input=CT,
)
#: four series as channels, overlapping masks, label numbers of its own
TUMOUR = Case(
    config=configuration(
        {
            "_target_": "SegResNet",
            "blocks_down": [1, 1],
            "blocks_up": [1],
            "init_filters": 8,
            "in_channels": 4,
            "out_channels": 3,
        },
        [
            step("LoadImaged", image_only=False),
            step("NormalizeIntensityd", nonzero=True, channel_wise=True),
        ],
        [
            step("Activationsd", "pred", sigmoid=True),
            invert(meta_keys="pred_meta_dict"),
            step("AsDiscreted", "pred", threshold=0.5),
            step(
                "Lambdad",
                "pred",
                func="$lambda x: torch.where(x[[2]] > 0, 4, "
                "torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))",
            ),
            WRITE,
        ],
        windows(),
    ),
    kind=Kind.SEGMENTATION,
    labels=("core", "whole", "enhancing"),
    input=MR4,
    seed=3,
)
PHOTO_CLASSES = Case(
    config=configuration(
        {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 3,
         "init_features": 4, "growth_rate": 2, "block_config": [1, 1]},
        [
            step("LoadImaged", image_only=False),
            step("EnsureChannelFirstd", channel_dim=-1),
            step("Resized", spatial_size=[32, 32], mode="bilinear"),
            step("CastToTyped", dtype="$torch.float32"),
            step("NormalizeIntensityd", nonzero=True, channel_wise=True),
            step("EnsureTyped"),
        ],
        [step("Activationsd", "pred", softmax=True)],
    ),
    kind=Kind.CLASSIFICATION,
    labels=("inside", "outside", "neither"),
    input=PHOTO,
)  # fmt: skip
PHOTO_MASKS = Case(
    config=configuration(
        unet(3, 2, dims=2),
        [
            step("LoadImaged", image_only=False),
            step("EnsureChannelFirstd", channel_dim=-1),
            step("Resized", ["@image_key"], spatial_size=[32, 24], mode=["bilinear"]),
            step("ScaleIntensityd", ["@image_key"]),
        ],
        [
            invert(meta_key_postfix="meta_dict"),
            step("AsDiscreted", ["pred"], argmax=True, to_onehot=2),
            step("Lambdad", ["pred"], func="$lambda x : x[1:]"),
            WRITE,
        ],
    ),
    kind=Kind.SEGMENTATION,
    labels=("tool",),
    input=PHOTO,
)
SLICES = Case(
    config=configuration(
        unet(1, 3, dims=2),
        [*LOAD, step("ScaleIntensityd"), step("EnsureTyped", device="@device")],
        [
            step("Activationsd", "pred", softmax=True),
            invert(meta_key_postfix="meta_dict"),
            step("AsDiscreted", "pred", argmax=True),
        ],
        {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2},
    ),
    kind=Kind.SEGMENTATION,
    labels=("pool", "muscle"),
    input=InputSpec(modalities=("MR",), spatial_dims=2),
)
DENOISED = Case(
    config=configuration(
        unet(1, 1),
        [*LOAD, *ON_GRID, step("ScaleIntensityd")],
        [invert(), WRITE],
        windows(),
    ),
    kind=Kind.RESTORATION,
    labels=(),
    input=CT,
)
NODULES = Case(
    config=configuration(
        {
            "_target_": "RetinaNet",
            "spatial_dims": 3,
            "num_classes": 2,
            "num_anchors": 2,
            "feature_extractor": "@feature_extractor",
            "size_divisible": "@size_divisible",
            "use_list_output": False,
        },
        [*LOAD, *ON_GRID, WINDOWED, step("EnsureTyped")],
        [
            {
                "_target_": "ClipBoxToImaged",
                "box_keys": "box",
                "label_keys": ["label", "label_scores"],
                "box_ref_image_keys": "@image_key",
                "remove_empty": True,
            },
            {
                "_target_": "AffineBoxToWorldCoordinated",
                "box_keys": "box",
                "box_ref_image_keys": "@image_key",
                "affine_lps_to_ras": True,
            },
            {
                "_target_": "ConvertBoxModed",
                "box_keys": "box",
                "src_mode": "xyzxyz",
                "dst_mode": "cccwhd",
            },
            step("DeleteItemsd", ["@image_key"]),
        ],
        {
            "_target_": "scripts.detection_inferer.RetinaNetInferer",
            "detector": "@detector",
            "force_sliding_window": False,
        },
        size_divisible=[4, 4, 4],
        backbone="$monai.networks.nets.ResNet(block='basic', layers=[1, 1, 1, 1], "
        "block_inplanes=[4, 8, 16, 32], spatial_dims=3, n_input_channels=1, "
        "conv1_t_stride=[2, 2, 1], conv1_t_size=[3, 3, 3])",
        feature_extractor={
            "_target_": "monai.networks.blocks.BackboneWithFPN",
            "backbone": "@backbone",
            "return_layers": {"layer1": "0"},
            "in_channels_list": [4],
            "out_channels": 8,
            "spatial_dims": 3,
        },
        anchor_generator={
            "_target_": "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2],
            "base_anchor_shapes": [[4, 5, 3], [6, 4, 4]],
        },
        detector={
            "_target_": "RetinaNetDetector",
            "network": "@network",
            "anchor_generator": "@anchor_generator",
            "debug": False,
            "spatial_dims": 3,
            "num_classes": 2,
            "size_divisible": "@size_divisible",
        },
        detector_ops=[
            "$@detector.set_target_keys(box_key='box', label_key='label')",
            "$@detector.set_box_selector_parameters(score_thresh=0.02,detections_per_img=20)",
            "$@detector.set_sliding_window_inferer(roi_size=[512, 512, 512],overlap=0.25)",
        ],
        evaluator={
            "_target_": "scripts.evaluator.DetectionEvaluator",
            "_requires_": "@detector_ops",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "amp": "@amp",
        },
        amp=True,
    ),
    kind=Kind.DETECTION,
    labels=("nodule", "other"),
    input=CT,
)
