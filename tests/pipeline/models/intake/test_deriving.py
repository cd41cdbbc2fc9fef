"""What metadata of public bundles come to, and what must be stated because they do not say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.config.document import Document
from pipeline.models.intake import deriving, monai
from pipeline.models.intake.deriving import Stated, slug_of
from pipeline.models.spec import Kind
from tests.pipeline.models.intake import made

PRED = "network_data_format.outputs.pred"
IMAGE = "network_data_format.inputs.image"
SCALAR = {"type": "image", "num_channels": 1, "spatial_shape": [16, 16, 16]}


def derived(
    changes: Mapping[str, Any],
    inference: Mapping[str, Any] = made.INFERENCE,
    **stated: Any,
) -> tuple[dict[str, Any], str]:
    document: dict[str, Any] = dict(made.METADATA)
    for where, value in changes.items():
        document = made.changed(document, where, value)
    metadata, faults = monai.parse(document)
    assert metadata is not None, faults
    program = "configs/inference.json"
    block, faults = deriving.derive(metadata, program, Document(inference), Stated(**stated))
    return block, "\n".join(faults)


def network(**arguments: Any) -> dict[str, Any]:
    return made.changed(
        made.INFERENCE, "network_def", {**made.INFERENCE["network_def"], **arguments}
    )


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        ("CT", ["CT"]),
        ("MRI", ["MR"]),
        ("Mammogram", ["MG"]),
        ("CT, PET", ["CT", "PT"]),
        ("x-ray", ["CR", "DX"]),
    ],
)
def test_modalities_become_those_of_dicom(said: str, codes: list[str]) -> None:
    block, faults = derived({f"{IMAGE}.modality": said})
    assert (block["input"]["modalities"], faults) == (codes, "")


@pytest.mark.parametrize("said", ["n/a", "none", "regular", "", "CT and more", None])
def test_a_modality_that_is_none_must_be_stated(said: str | None) -> None:
    _, faults = derived({f"{IMAGE}.modality": said})
    assert "state DICOM's with --modality" in faults
    block, faults = derived({f"{IMAGE}.modality": said}, modalities=("ES",))
    assert (block["input"]["modalities"], faults) == (["ES"], "")


def test_a_stated_modality_is_one_of_dicom() -> None:
    _, faults = derived({}, modalities=("computed",))
    assert "--modality 'computed' is no DICOM modality" in faults


@pytest.mark.parametrize(
    ("answer", "kind", "first"),
    [
        ({"format": "labels", "num_channels": 2}, "segmentation", 1),
        ({"format": "labels", "spatial_shape": [1, 2]}, "classification", 0),
        (
            {"type": "probabilities", "format": "classes", "spatial_shape": [1, 2]},
            "classification",
            0,
        ),
        ({"type": "object", "format": "dict", "channel_def": {"0": "nodule"}}, "detection", 0),
    ],
)
def test_the_kind_follows_from_what_comes_out(
    answer: dict[str, Any], kind: str, first: int
) -> None:
    block, faults = derived({f"{PRED}.{key}": value for key, value in answer.items()})
    assert (block["kind"], faults) == (kind, "")
    numbers = [label["number"] for label in block["labels"]]
    assert numbers == list(range(first, first + len(numbers)))
    assert numbers


def test_an_image_that_comes_out_is_restored_and_has_no_labels() -> None:
    changes = {f"{PRED}.format": "magnitude", f"{PRED}.num_channels": 1}
    block, faults = derived(changes, network(out_channels=1))
    assert (block["kind"], block["labels"], faults) == ("restoration", [], "")


def test_what_comes_out_and_is_not_known_must_be_stated() -> None:
    changes = {f"{PRED}.type": "tuples", f"{PRED}.format": "points"}
    _, faults = derived(changes)
    assert "state --kind" in faults
    block, _ = derived(changes, kind=Kind.SEGMENTATION)
    assert block["kind"] == "segmentation"


def test_labels_without_a_background_are_all_labels() -> None:
    names = {"0": "core", "1": "whole", "2": "enhancing"}
    changes = {f"{PRED}.channel_def": names, f"{PRED}.num_channels": 3}
    block, faults = derived(changes, network(out_channels=3))
    assert faults == ""
    assert block["labels"] == [
        {"number": number, "name": name} for number, name in enumerate(names.values(), 1)
    ]


def test_labels_that_are_missing_must_be_stated() -> None:
    assert "--label" in derived({f"{PRED}.channel_def": {"0": "background"}})[1]
    block, faults = derived({f"{PRED}.channel_def": {"0": "background"}}, labels=("spleen",))
    assert (block["labels"], faults) == ([{"number": 1, "name": "spleen"}], "")


@pytest.mark.parametrize(
    ("where", "value", "sentence"),
    [
        (f"{IMAGE}.num_channels", 4, "in_channels 1, the channels of the input in the metadata"),
        (f"{IMAGE}.spatial_shape", [16, 16], "spatial_dims 3, the spatial axes of the input"),
        (
            f"{PRED}.channel_def",
            {"0": "background", "1": "a", "2": "b", "3": "c"},
            "out_channels 2, the labels in the metadata ask for 3 or 4",
        ),
    ],
)
def test_metadata_and_network_that_contradict_each_other_are_refused(
    where: str, value: Any, sentence: str
) -> None:
    assert sentence in derived({where: value})[1]


def test_references_to_plain_values_are_followed() -> None:
    inference = {**network(in_channels="@channels"), "channels": "@more", "more": 5}
    assert "in_channels 5" in derived({}, inference)[1]
    circle = {**inference, "more": "@channels"}
    assert derived({}, circle)[1] == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({f"{IMAGE}.type": "noise"}, "makes images out of noise"),
        ({f"{IMAGE}.spatial_shape": [3]}, "1 spatial axes"),
        ({f"{IMAGE}.num_channels": 0}, "the input has no channel"),
        (
            {
                "network_data_format.inputs.mask": made.METADATA["network_data_format"]["inputs"][
                    "image"
                ]
            },
            "states 2 inputs (image, mask)",
        ),
        ({"network_data_format": None}, "network_data_format is missing"),
    ],
)
def test_what_is_not_run_here_is_said(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in derived(changes)[1]


def test_a_model_without_a_name_must_be_given_one() -> None:
    assert "--name" in derived({"name": None})[1]
    assert derived({"name": None}, name="spleen")[1] == ""


def test_names_become_small_letters_digits_and_hyphens() -> None:
    assert slug_of("  BraTS MRI, (segmentation)! ") == "brats-mri-segmentation"
    assert slug_of("x" * 62 + " y") == "x" * 62
    assert slug_of("脾") == ""


def test_the_key_of_the_image_is_the_configuration_s() -> None:
    assert derived({})[0]["options"] == {"image_key": "image"}
    block, _ = derived({}, {**made.INFERENCE, "image_key": "scan"}, activation="softmax")
    assert block["options"] == {"image_key": "scan", "activation": "softmax"}
