"""Every network of the table builds, answers in the shape of its kind, and takes its weights."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks import nets
from torch import Tensor, nn

from pipeline.config.tables.lookup import find
from pipeline.models import bundle, networks, weights
from pipeline.models.retinanet import Layout
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.models.table.row import SPATIAL_DIMS, Row
from pipeline.models.table.torchvision import TORCHVISION
from pipeline.networks.torchvision_detectors import Trunk
from tests.pipeline.models.table.small import SIZE, SMALL

#: they differ in depth from the smallest of their family alone
LARGE = {"resnet101", "resnet152", "resnet200", *TORCHVISION} - {
    f"torchvision.{name}"
    for name in ("resnet18", "vgg11", "densenet121", "efficientnet_b0", "fcn", "deeplabv3")
}
#: boxes are no tensor: see test_detection
EACH = [
    (name, axes)
    for name, row in networks.TABLE.items()
    for axes in row.axes
    if Kind.DETECTION not in row.kinds and name not in LARGE
]


def arguments(name: str, axes: int) -> dict[str, Any]:
    row = networks.TABLE[name]
    return {SPATIAL_DIMS: axes, row.in_channels: 1, row.outputs: outputs(row), **SMALL[name]}


def outputs(row: Row) -> int:
    """Return how many outputs are asked for: a restoration gives back as many as it got."""
    return 1 if Kind.SEGMENTATION not in row.kinds and Kind.RESTORATION in row.kinds else 2


def without_memory(name: str, axes: int) -> nn.Module:
    with torch.device("meta" if networks.TABLE[name].is_lazy else "cpu"):
        return networks.build(name, arguments(name, axes)).to("meta")


@pytest.mark.parametrize(("name", "axes"), EACH)
def test_every_network_answers_in_the_shape_of_its_kind(name: str, axes: int) -> None:
    row = networks.TABLE[name]
    answer = without_memory(name, axes).eval()(torch.zeros(1, 1, *[SIZE] * axes, device="meta"))
    assert isinstance(answer, Tensor)
    is_map = Kind.CLASSIFICATION not in row.kinds
    size = [SIZE * (row.scale or 1)] * axes if is_map else []
    assert answer.shape == (1, outputs(row), *size)


def spec_of(name: str, axes: int) -> ModelSpec:
    row = networks.TABLE[name]
    kind = max(row.kinds)
    numbers = {Kind.SEGMENTATION: (1,), Kind.RESTORATION: ()}.get(kind, (0, 1))
    return ModelSpec(
        name="some",
        version="1",
        kind=kind,
        title="Some",
        input=InputSpec(modalities=("CT",), spatial_dims=axes, size=(SIZE,) * axes),
        labels=tuple(Label(number=number, name=f"label {number}") for number in numbers),
        network=name,
        network_arguments=arguments(name, axes),
        options={"scale": row.scale} if row.scale else {},
    )


#: of each family one: a bundle with the weights of a DAF3D is 100 MB
WRITTEN = (
    "UNet",
    "BasicUNet",
    "BasicUNetPlusPlus",
    "AttentionUnet",
    "SegResNet",
    "SegResNetDS",
    "DynUNet",
    "MedNeXt",
    "HighResNet",
    "AutoEncoder",
    "SwinUNETR",
    "UNETR",
    "Restormer",
    "ViTAutoEnc",
    "DenseNet",
    "DenseNet121",
    "ResNet",
    "resnet10",
    "EfficientNet",
    "SEResNet50",
    "ViT",
    "RetinaNet",
    "SubpixelNet",
    "SPPNet",
    "CNNLSTM",
    "AttentionMIL",
    "AttentionGatedNet",
    "SEUNet",
    "EDSR",
    "RCAN",
    "SRResNet",
    "DenoisingAutoEncoder",
    "EarlyFusion",
    "LateFusion",
    "JointFusion",
    "FiLMNet",
)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_network_comes_back_from_its_bundle(tmp_path: Path, name: str) -> None:
    axes = networks.TABLE[name].axes[0]
    torch.manual_seed(0)
    built = networks.build(name, arguments(name, axes))
    spec = spec_of(name, axes)
    written = bundle.write(tmp_path / "some", spec, weights=built.state_dict(), card="#")
    filled = weights.load(written).state_dict()
    assert all(torch.equal(value, filled[key]) for key, value in built.state_dict().items())


#: factories that hand what they do not know on to a class
HANDED_ON = {
    "resnet": nets.ResNet,
    "mednext": nets.MedNeXt,
    "torchvision_detectors": Trunk,
    "retinanet": Layout,
}


def parameters(target: Any) -> Iterator[str]:
    """Yield the names of what a class or a factory takes, also what it hands on."""
    makers = target.__mro__ if inspect.isclass(target) else [target]
    for made in makers:
        if inspect.isclass(made) and "__init__" not in vars(made):
            continue
        found = inspect.signature(made).parameters.values()
        yield from (one.name for one in found)
        if not any(one.kind is one.VAR_KEYWORD for one in found):
            return
    if not inspect.isclass(target):
        yield from parameters(HANDED_ON[target.__module__.rpartition(".")[2]])


@pytest.mark.parametrize(
    "name", [name for name, row in networks.TABLE.items() if "architecture" not in row.entry.fixed]
)
def test_the_arguments_of_a_row_are_those_of_its_class(name: str) -> None:
    row = networks.TABLE[name]
    told = row.allowed if row.takes_axes else row.allowed - {SPATIAL_DIMS}
    assert told | set(row.entry.fixed) <= set(parameters(row.entry.load()))


def test_no_row_of_the_table_lets_a_bundle_fetch_weights() -> None:
    fetching = {"pretrained", "weights", "weights_backbone", "progress", "url", "checkpoint"}
    assert [name for name, row in networks.TABLE.items() if row.allowed & fetching] == []


def test_where_a_class_of_monai_is_defined_is_said_once() -> None:
    shared = 0
    for name, row in networks.TABLE.items():
        entry = find(f"monai.networks.nets.{name}")
        if row.entry.module.startswith("monai."):
            assert entry is not None
            assert (entry.name, {**row.entry.fixed, **entry.fixed}) == (
                row.entry.name,
                row.entry.fixed,
            )
            shared += 1
    assert shared > 40


def test_one_answer_of_several_is_taken_also_by_a_copy() -> None:
    built = networks.build("ViT", arguments("ViT", 2)).eval()
    image = torch.zeros(1, 1, SIZE, SIZE)
    assert torch.equal(copy.deepcopy(built)(image), built(image))


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("Quicknat", {"spatial_dims": 3}, "network Quicknat has 2 axes"),
        ("UNet", {"spatial_dims": [2]}, "network UNet has 2 or 3 axes"),
        ("ViT", {"classification": False}, "has no argument 'classification'"),
        ("UNet", {"channels": [10**9, 1]}, "holds a number beyond"),
        ("DenseNet121", {"pretrained": True}, "has no argument 'pretrained'"),
    ],
)
def test_what_a_row_does_not_allow_is_refused(
    name: str, changes: dict[str, Any], sentence: str
) -> None:
    given = {**arguments(name, networks.TABLE[name].axes[0]), **changes}
    assert [fault for fault in networks.faults(name, given) if sentence in fault]
    with pytest.raises(ValueError, match=sentence):
        networks.build(name, given)


def test_a_network_answers_for_its_own_kinds_only(tmp_path: Path) -> None:
    spec = spec_of("UNet", 3)
    stated = ModelSpec(**{**vars(spec), "kind": Kind.CLASSIFICATION, "labels": ()})
    with pytest.raises(bundle.BundleRefused, match="UNet is for restoration or segmentation, not"):
        bundle.write(tmp_path / "some", stated, weights={}, card="#")


def test_metadata_is_checked_without_torch() -> None:
    script = "import sys, pipeline.models.metadata; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
