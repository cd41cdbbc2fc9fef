"""What resolving gives beyond MONAI's meaning: given objects, replacements, and refusals."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.checking import faults
from pipeline.config.document import ConfigRefused, Document
from pipeline.config.resolver import Resolver

_PIPELINE: dict[str, Any] = {
    "image_key": "image",
    "output_dir": "$open('/x')",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "@image_key", "reader": "$monai.data.PILReader"},
            {"_target_": "EnsureChannelFirstd", "keys": "@image_key", "channel_dim": "no_channel"},
            {"_target_": "Lambdad", "keys": "@image_key", "func": "$lambda x: x * 2 + 1"},
            {"_target_": "SaveImaged", "keys": "@image_key", "output_dir": "@output_dir"},
        ],
    },
}


def _load(keys: str) -> Any:
    return lambda data: {**data, keys: torch.full((2, 2), 3.0)}


def _drop() -> None:
    return None


_REPLACING = {"LoadImaged": _load, "SaveImaged": _drop}


def _refusal(config: dict[str, Any], name: str = "it", **options: Any) -> str:
    with pytest.raises(ConfigRefused) as refused:
        Resolver(Document(config), **options).get(name)
    return "; ".join(refused.value.faults)


def test_a_pipeline_runs_on_what_replaces_its_loader_and_without_its_saver() -> None:
    composed = Resolver(Document(_PIPELINE), replacing=_REPLACING).get("preprocessing")
    assert len(composed.transforms) == 3
    assert composed({})["image"].tolist() == [[[7.0, 7.0], [7.0, 7.0]]]


def test_placeholders_that_nothing_replaces_are_named() -> None:
    assert "LoadImaged reads or writes files" in _refusal(_PIPELINE, "preprocessing")
    found = faults(Document(_PIPELINE), ["preprocessing"])
    assert any("LoadImaged" in fault and "put something in its place" in fault for fault in found)
    assert any("PILReader" in fault for fault in found)
    assert any("'open'" in fault for fault in found)
    assert faults(Document(_PIPELINE), ["preprocessing"], replacing=_REPLACING) == []


@pytest.mark.parametrize("package", ["", "monai.transforms.", "monai.transforms.io.array."])
def test_a_replacement_answers_for_every_spelling_of_its_target(package: str) -> None:
    name = f"{package}LoadImage"
    config = {"it": {"_target_": "monai.transforms.LoadImage", "image_only": True}}
    seen: list[dict[str, Any]] = []

    def note(**arguments: Any) -> None:
        seen.append(arguments)

    Resolver(Document(config), replacing={name: note}).get("it")
    config["it"]["_target_"] = name
    Resolver(Document(config), replacing={"LoadImage": note}).get("it")
    assert seen == [{"image_only": True}] * 2


def test_code_of_the_bundle_is_refused_unless_something_stands_for_it() -> None:
    config = {"it": {"_target_": "scripts.inferer.Special", "size": 3}}
    assert "code of the bundle" in _refusal(config)
    made = Resolver(Document(config), replacing={"scripts.inferer.Special": lambda size: size}).get(
        "it"
    )
    assert made == 3


def test_given_objects_answer_before_the_document() -> None:
    config = {
        "imports": ["$import json"],
        "bundle_root": ".",
        "device": "$torch.device('cuda')",
        "metadata": "$json.loads('x')",
        "it": ["@device", "$@bundle_root + '/models'", "$@metadata['a']", "@metadata::b::0"],
    }
    objects = {
        "device": torch.device("cpu"),
        "bundle_root": "/x",
        "metadata": {"a": 1, "b": [2]},
    }
    resolver = Resolver(Document(config), given=objects)
    assert resolver.get("it") == [torch.device("cpu"), "/x/models", 1, 2]
    assert faults(Document(config), ["it"], objects) == []
    found = faults(Document(config), ["it"], {"bundle_root"})
    assert [fault.split(" ")[0] for fault in found] == ["metadata", "it::3"]


def test_the_document_answers_for_parts_that_a_given_object_does_not_have() -> None:
    config = {"loader": {"_target_": "DataLoader", "batch_size": 4}, "it": "@loader::batch_size"}
    assert Resolver(Document(config), given={"loader": object()}).get("it") == 4


def test_circles_are_refused_with_their_way() -> None:
    config = {"it": {"x": "@b"}, "b": "$@c + 1", "c": ["@it::x"]}
    assert "it::x -> b -> c -> c::0 -> it::x" in _refusal(config)
    assert "it::x -> b -> c -> c::0 -> it::x" in faults(Document(config), ["it"])[0]


def test_chains_without_end_are_refused() -> None:
    config = {f"n{i}": f"@n{i + 1}" for i in range(500)} | {"it": "@n0", "n500": 1}
    assert "behind more than" in _refusal(config)
    assert "behind more than" in faults(Document(config), ["it"])[0]


def test_a_refusal_is_not_remembered_as_a_circle() -> None:
    resolver = Resolver(Document({"it": "$@missing"}))
    for _ in range(2):
        with pytest.raises(ConfigRefused, match="no 'missing'"):
            resolver.get("it")


@pytest.mark.parametrize(
    ("component", "said"),
    [
        ({"_target_": "os.system", "command": "true"}, "os.system is not among"),
        ({"_target_": "builtins.eval"}, "not among"),
        ({"_target_": "numpy.load", "file": "x"}, "not among"),
        ({"_target_": "torch.where"}, "not among"),
        ({"_target_": "subprocess.Popen"}, "not among"),
        ({"_target_": "monai.bundle.ConfigParser"}, "not among"),
        ({"_target_": "monai.transforms.compose.Compose.__init__"}, "not among"),
        ({"_target_": "monai.networks.nets.unet.nn.Module"}, "not among"),
        ({"_target_": "TorchVisiond", "keys": "a", "name": "x"}, "not among"),
        ({"_target_": "UNet.__class__"}, "not among"),
        ({"_target_": ""}, "not among"),
        ({"_target_": None}, "not among"),
        ({"_target_": {"a": 1}}, "not among"),
        ({"_target_": "$lambda: 0"}, "not among"),
        ({"_target_": "@other"}, "not among"),
        ({"_target_": "Flip", "_mode_": "debug"}, "mode 'debug'"),
        ({"_target_": "Flip", "axis": 1}, "no parameter 'axis'"),
        ({"_target_": "Flip", 1: 2}, "no parameter '1'"),
        ({"_target_": "Spacingd", "keys": "a"}, "needs the parameter 'pixdim'"),
        ({"_target_": "Orientation", "axcodes": None}, "refuses its arguments"),
        ({"_target_": "PatchInferer", "merger_cls": "os.system"}, "cannot have 'os.system'"),
        (
            {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 10**6,
             "channels": [2, 4], "strides": [2]},
            "beyond 8192",
        ),
        (
            {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2,
             "channels": [2, 10**5], "strides": [2]},
            "beyond 8192",
        ),
        (
            {"_target_": "TorchVisionFCModel", "model_name": "list_models"},
            "torchvision|cannot have",
        ),
    ],
)  # fmt: skip
def test_targets_and_arguments_outside_of_the_tables_are_refused(
    component: dict[str, Any], said: str
) -> None:
    refused = _refusal({"it": component, "other": 1})
    assert any(part in refused for part in said.split("|")), refused
    found = faults(Document({"it": component, "other": 1}), ["it"], signatures=True)
    assert found or "refuses its arguments" in said


def test_weights_are_never_fetched() -> None:
    config = {
        "it": {
            "_target_": "DenseNet121",
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            "pretrained": True,
        }
    }
    # with one channel, MONAI refuses to fetch: that it builds shows that it did not try
    assert type(Resolver(Document(config)).get("it")).__name__ == "DenseNet121"


def test_no_place_of_an_argument_is_a_way_around_the_tables() -> None:
    nets = "$monai.networks.nets"
    built = Resolver(Document({"it": f"{nets}.resnet10(True, spatial_dims=2, n_input_channels=1)"}))
    assert type(built.get("it")).__name__ == "ResNet"
    for text, said in {
        "$monai.inferers.PatchInferer(None, 'os.system')": "cannot have 'os.system'",
        f"{nets}.TorchVisionFCModel('list_models')": "cannot have 'list_models'",
        f"{nets}.UNet(2, 1, 10 ** 6, [2, 4], [2])": "beyond 8192",
        f"{nets}.ViT(*[1] * 99)": "arguments by place",
    }.items():
        assert said in _refusal({"it": text})


_NAMES = "Flip UNet SaveImage torch.device PatchInferer Lambda Compose scripts.x $1 @a"
_TARGETS = st.sampled_from(_NAMES.split())
_ARGUMENTS = "_target_ _disabled_ _requires_ _mode_ keys transforms type func a"
_KEYS = st.sampled_from(_ARGUMENTS.split())
_LEAVES = st.sampled_from(
    ["@a", "@b::a", "@::a", "%a", "%b::a", "$@a", "$lambda x: x", "$1/0", "True", 1, -0.5, None]
)
_PARTS = st.recursive(
    _LEAVES | _TARGETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=10,
)


@given(a=_PARTS, b=_PARTS, target=_TARGETS)
@settings(max_examples=60, deadline=None)
def test_any_document_is_answered_or_refused(a: Any, b: Any, target: str) -> None:
    config = {"a": a, "b": b, "it": {"_target_": target, "a": "@a", "func": "@b"}}
    found = faults(Document(config), config, signatures=True)
    assert all(isinstance(fault, str) for fault in found)
    resolver = Resolver(Document(config))
    for name in config:
        with suppress(ConfigRefused):
            resolver.get(name)


def test_what_is_disabled_is_not_looked_at() -> None:
    config = {"it": [{"_target_": "scripts.x", "_disabled_": True, "a": "$open('x')"}, 1]}
    assert Resolver(Document(config)).get("it") == [1]
    assert faults(Document(config), ["it"]) == []


def test_what_is_not_asked_for_may_be_anything() -> None:
    config = {"run": ["$@evaluator.run()"], "x": "%../../y.json", "it": {"_target_": "Flip"}}
    assert Resolver(Document(config)).get("it") is not None
    assert faults(Document(config), ["it"]) == []
    assert faults(Document(config), ["run", "x"]) != []


def test_faults_name_the_id_the_expression_and_what_could_be_done() -> None:
    config = {
        "net": {"_target_": "scripts.net.Own", "size": "@size"},
        "pre": {"_target_": "Compose", "transforms": ["$numpy.load(@path)"]},
        "path": "x",
    }
    assert faults(Document(config), ["net", "pre", "gone"]) == [
        "net::size refers to 'size', which is not there; give it a value",
        (
            "net: scripts.net.Own is code of the bundle, which never runs, and nothing of ours "
            "stands for it"
        ),
        (
            "pre::transforms::0 is '$numpy.load(@path)': numpy.load is not in the tables of what "
            "an expression may use"
        ),
        "what is asked for refers to 'gone', which is not there; give it a value",
    ]


def test_a_detector_is_built_and_set_by_expressions() -> None:
    pytest.importorskip("torchvision")
    nets = "monai.networks.nets.resnet"
    detection = "monai.apps.detection"
    config = {
        "anchors": {
            "_target_": f"{detection}.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2, 4],
            "base_anchor_shapes": [[6, 8, 4], [8, 6, 5], [10, 10, 6]],
        },
        "backbone": f"${nets}.resnet10(spatial_dims=3,n_input_channels=1,conv1_t_stride=[2,2,1])",
        "features": f"${detection}.networks.retinanet_network.resnet_fpn_feature_extractor"
        "(@backbone,3,False,[1,2],None)",
        "net": {
            "_target_": "RetinaNet",
            "spatial_dims": 3,
            "num_classes": 1,
            "num_anchors": 3,
            "feature_extractor": "@features",
            "size_divisible": [16, 16, 8],
        },
        "detector": {
            "_target_": "RetinaNetDetector",
            "network": "$@net.to(@device)",
            "anchor_generator": "@anchors",
            "debug": False,
        },
        "device": "$torch.device('cpu')",
        "ops": ["$@detector.set_target_keys(box_key='box', label_key='label')"],
    }
    asked = ["detector", "ops"]
    assert faults(Document(config), asked, signatures=True) == []
    resolver = Resolver(Document(config))
    assert [resolver.get(name) for name in asked][1] == [None]
    assert resolver.get("detector").target_box_key == "box"
    assert resolver.get("detector").network is resolver.get("net")


def test_a_deep_copy_of_transforms_keeps_their_lambdas() -> None:
    config = {
        "imports": ["$import copy"],
        "pre": {"_target_": "Lambdad", "keys": "x", "func": "$lambda x: x + 1"},
        "it": "$copy.deepcopy(@pre)",
    }
    assert Resolver(Document(config)).get("it")({"x": torch.zeros(1)})["x"].item() == 1.0
