"""Files of a configuration: what is read, merged and refused."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import limits
from pipeline.config.document import ConfigRefused, Document

_SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def _written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _refusal(folder: Path, name: str, text: str) -> str:
    with pytest.raises(ConfigRefused) as refused:
        Document.read([_written(folder, name, text)])
    return "; ".join(refused.value.faults)


def test_json_and_yaml_of_the_same_content_are_the_same(tmp_path: Path) -> None:
    content = {"a": [1, 2.5, None, True], "b": {"c": "$@a[0]", "d": "x"}}
    as_json = Document.read([_written(tmp_path, "c.json", json.dumps(content))])
    as_yaml = Document.read(
        [_written(tmp_path, "c.yaml", "a: [1, 2.5, null, true]\nb:\n  c: $@a[0]\n  d: x\n")]
    )
    assert as_json.config == as_yaml.config == content


def test_ids_reach_into_lists_and_mappings_with_either_separator(tmp_path: Path) -> None:
    document = Document({"pre": {"transforms": [{"keys": "image"}]}})
    assert document.get("pre::transforms::0::keys") == "image"
    assert document.get("pre#transforms#0#keys") == "image"
    assert document.get("pre::transforms::1", "nothing") == "nothing"
    assert "pre::transforms::0" in document
    assert "pre::transforms::1" not in document


def test_later_files_replace_reach_in_and_add(tmp_path: Path) -> None:
    first = _written(
        tmp_path, "a.json", '{"net": {"in": 1, "out": 2}, "list": [1], "table": {"x": 1}}'
    )
    second = _written(
        tmp_path,
        "b.json",
        '{"net::in": 4, "+list": [2, 3], "+table": {"y": 2}, "list#0": 9, "+new": 5}',
    )
    assert Document.read([first, second]).config == {
        "net": {"in": 4, "out": 2},
        "list": [9, 2, 3],
        "table": {"x": 1, "y": 2},
        "new": 5,
    }


def test_values_set_over_a_document_leave_the_document_alone() -> None:
    document = Document({"net": {"in": 1}, "ext": ".png"})
    changed = document.with_values({"output_ext": ".nii.gz", "net::in": 3})
    assert changed.config == {"net": {"in": 3}, "ext": ".png", "output_ext": ".nii.gz"}
    assert document.config == {"net": {"in": 1}, "ext": ".png"}


@pytest.mark.parametrize(
    ("key", "value"), [("a::b", 1), ("list::7", 1), ("list::x", 1), ("+list", {}), ("+n", [1])]
)
def test_a_value_without_a_place_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigRefused, match=r"to be set|same kind"):
        Document({"list": [1], "n": 1}).with_values({key: value})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"a": 1, "a": 2}', "'a' twice"),
        ("a.json", '{"x": {"b": 1, "b": 2}}', "'b' twice"),
        ("a.json", '{"a": NaN}', "NaN"),
        ("a.json", '{"a": -Infinity}', "Infinity"),
        ("a.json", '{"a": 1e999}', "not finite"),
        ("a.json", '{"a": ' + "9" * 40 + "}", "whole number beyond"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", "not well formed"),
        ("a.json", "{", "not well formed"),
        ("a.json", "[1]", "names and values"),
        ("a.json", '{"a":' * 60 + "1" + "}" * 60, "deeper"),
        ("a.json", "[" * 100_000, "not well formed"),
        ("a.json", json.dumps({"a": "x" * 30_000}), "longer than"),
        ("a.json", json.dumps({"a": [0] * 60_000}), "more than"),
        ("a.json", '{"a": "' + "x" * 1_000_001 + '"}', "larger than"),
        ("a.yaml", "a: 1\na: 2\n", "twice"),
        ("a.yaml", "a: &x [1]\nb: *x\n", "alias"),
        ("a.yaml", "a: {<<: {b: 1}}\n", "merge key"),
        ("a.yaml", "a: !!python/object/apply:os.system [true]\n", "not well formed"),
        ("a.yaml", "a: 2020-01-01\n", "date"),
        ("a.yaml", "a: .nan\n", "not finite"),
        ("a.yaml", "? [1, 2]\n: 3\n", "not well formed"),
        ("a.yaml", "1.5: x\n", "neither a text nor"),
        ("a.yaml", "a: {1: x, '1': y}\n", "as a text and once as a number"),
        ("a.yaml", "a: " + "[" * 100 + "]" * 100, "deeper"),
        ("a.yaml", "a: [1\n", "not well formed"),
        ("a.yaml", "a: " + "x" * 200_001, "larger than"),
        ("a.py", "print()", "neither JSON nor YAML"),
    ],
)
def test_what_is_no_bounded_plain_data_is_refused(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    assert said in _refusal(tmp_path, name, text)


def test_files_that_are_missing_or_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    for name in ("a.json", "missing.json"):
        with pytest.raises(ConfigRefused, match=r"UTF-8|cannot be read"):
            Document.read([tmp_path / name])


@given(_TREES)
def test_what_json_can_hold_is_read_back(tree: object) -> None:
    document = Document({}).with_values({"a": tree})
    assert document.get("a") == tree
    assert len(document.items) <= limits.MOST_NODES


def test_macros_copy_parts_of_the_document() -> None:
    document = Document(
        {
            "net": {"in": 1, "again": "@#in"},
            "copy": "%net",
            "part": "%net::in",
            "old": "%net#in",
            "deep": {"here": "%#there", "there": 5, "above": "%##part"},
        }
    )
    assert document.items["copy"] == {"in": 1, "again": "@net::in"}
    assert document.items["part"] == document.items["old"] == document.items["deep::above"] == 1
    assert document.items["deep::here"] == 5


def test_macros_reach_other_files_of_the_bundle_only(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    _written(bundle, "configs/shared.json", '{"net": {"in": "%in"}, "in": 3}')
    _written(tmp_path, "outside.json", '{"secret": 1}')
    (bundle / "configs" / "link.json").symlink_to(tmp_path / "outside.json")
    macros = {
        "good": "%configs/shared.json::net::in",
        "short": "%shared.json::net",
        "whole": "%shared.json",
        "up": "%../outside.json::secret",
        "full": f"%{tmp_path}/outside.json::secret",
        "link": "%configs/link.json::secret",
        "none": "%configs/missing.json",
        "part": "%shared.json::missing",
    }
    config = _written(bundle, "configs/inference.json", json.dumps(macros))
    items = Document.read([config]).items
    assert (items["good"], items["short"], items["whole::in"]) == (3, {"in": 3}, 3)
    for name, said in {
        "up": "outside",
        "full": "outside",
        "link": "outside",
        "none": "no such file",
        "part": "there is no",
    }.items():
        assert said in items[name].sentence


def test_macros_that_lead_in_a_circle_are_broken_where_they_are() -> None:
    items = Document({"a": "%b", "b": "%a", "self": {"x": "%self"}, "all": "%", "fine": 1}).items
    for name in ("a", "b", "self::x::x", "self::x"):
        found = items.get(name)
        assert found is None or isinstance(found, dict) or "back to itself" in found.sentence
    assert "back to itself" in items["a"].sentence
    assert items["fine"] == 1


def test_macros_that_double_again_and_again_are_refused() -> None:
    config = {f"m{level}": [f"%m{level - 1}"] * 10 for level in range(1, 20)} | {"m0": "x"}
    with pytest.raises(ConfigRefused, match="larger than"):
        _ = Document(config).items


def test_a_relative_id_above_the_document_is_broken_where_it_is() -> None:
    items = Document({"a": {"b": "@####c"}, "ok": {"b": "@##top"}, "top": 1}).items
    assert "above the whole document" in items["a::b"].sentence
    assert items["ok::b"] == "@top"


def test_a_refusal_survives_the_way_back_from_a_process() -> None:
    refused = pickle.loads(pickle.dumps(ConfigRefused(["one", "two"])))  # noqa: S301, our own
    assert refused.faults == ["one", "two"]


def test_reading_and_checking_import_neither_torch_nor_monai() -> None:
    program = (
        "import sys\n"
        "from pipeline.config.document import Document\n"
        "from pipeline.config.resolver import Resolver\n"
        "from pipeline.config.checking import faults\n"
        "d = Document({'net': {'_target_': 'UNet', 'spatial_dims': '$3'}, 'd': '$torch.int8'})\n"
        "assert faults(d, ['net', 'd']) == [], faults(d, ['net', 'd'])\n"
        "assert not {'torch', 'monai', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
