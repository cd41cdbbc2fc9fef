"""Metadata are data: checked, never run, and whatever they hold gives sentences."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.document import Document
from pipeline.models.intake import deriving, monai
from pipeline.models.intake.deriving import Stated
from tests.pipeline.models.intake import made

FORMAT = "network_data_format.inputs.image"


def test_sound_metadata_have_no_faults() -> None:
    metadata, faults = monai.parse(made.METADATA)
    assert faults == []
    assert metadata is not None
    assert metadata.network_data_format is not None
    assert metadata.network_data_format.outputs["pred"].channel_names == ["background", "spleen"]


def test_channels_are_read_in_the_order_of_their_numbers() -> None:
    names = {"10": "k", "2": "c", "0": "a"}
    document = made.changed(made.METADATA, "network_data_format.outputs.pred.channel_def", names)
    metadata, _ = monai.parse(document)
    assert metadata is not None
    assert metadata.network_data_format is not None
    assert metadata.network_data_format.outputs["pred"].channel_names == ["a", "c", "k"]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("version", "../1"),
        ("version", 1),
        (f"{FORMAT}.num_channels", "3"),
        (f"{FORMAT}.num_channels", -1),
        (f"{FORMAT}.num_channels", True),
        (f"{FORMAT}.spatial_shape", [0, 1]),
        (f"{FORMAT}.spatial_shape", ["16*n)"]),
        (f"{FORMAT}.spatial_shape", ["__import__('os').system('x')"]),
        (f"{FORMAT}.spatial_shape", [1, 2, 3, 4, 5]),
        (f"{FORMAT}.channel_def", {"zero": "image"}),
        (f"{FORMAT}.channel_def", ["image"]),
        (f"{FORMAT}.value_range", ["a"]),
        ("network_data_format.inputs", {}),
        ("network_data_format", []),
    ],
)
def test_each_wrong_value_is_one_fault_that_names_its_place(where: str, value: Any) -> None:
    metadata, faults = monai.parse(made.changed(made.METADATA, where, value))
    assert metadata is None
    assert len(faults) == 1
    assert faults[0].startswith(f"metadata.json: {where}")


@pytest.mark.parametrize("text", ["$__import__('os').system('x')", "@network", "%other.json"])
def test_a_text_that_asks_to_be_run_is_refused_wherever_it_stands(text: str) -> None:
    for where in ("description", "changelog.0", "eval_metrics.mean_dice"):
        document = made.changed({**made.METADATA, "changelog": {}}, where, text)
        _, faults = monai.parse(document)
        place = where.replace(".", "::")
        assert any(place in fault and "nothing in it is run" in fault for fault in faults)


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
PLACES = [
    "version",
    "name",
    "network_data_format",
    "network_data_format.inputs",
    "network_data_format.outputs.pred",
    *(f"{FORMAT}.{key}" for key in ("type", "format", "modality", "num_channels")),
    *(f"{FORMAT}.{key}" for key in ("spatial_shape", "value_range", "channel_def")),
    "network_data_format.outputs.pred.channel_def",
]


@settings(max_examples=100, deadline=None)
@given(where=st.sampled_from(PLACES), value=VALUES)
def test_any_value_anywhere_gives_metadata_or_sentences(where: str, value: Any) -> None:
    metadata, faults = monai.parse(made.changed(made.METADATA, where, value))
    assert (metadata is None) == bool(faults)
    assert all(isinstance(fault, str) and fault for fault in faults)
    if metadata is not None:
        block, faults = deriving.derive(
            metadata, "configs/inference.json", Document(made.INFERENCE), Stated()
        )
        assert faults or json.dumps(block)
