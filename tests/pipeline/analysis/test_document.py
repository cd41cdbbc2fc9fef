from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter

from pipeline.analysis import AnalysisInvalid, TieBreaker, from_document, json_schema, parse
from pipeline.analysis.steps import Condition, in_order

DOCS = Path(__file__).parents[3] / "docs" / "analyses.md"
SHIPPED = sorted((Path(__file__).parents[3] / "analyses").glob("*.yaml"))

TEXT = """
name: little
version: "1"
title: A little analysis
inputs:
  ct: {kind: volume, where: {modality: CT, minimum_slices: 3}, prefer: [thinnest]}
steps:
  - {name: lungs, model: threshold-lung, input: ct}
"""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_analysis_is_valid_and_named_as_its_file(path: Path) -> None:
    assert parse(path.read_text()).name == path.stem


def test_a_document_survives_the_database() -> None:
    analysis = parse(TEXT)
    again = from_document(json.loads(json.dumps(analysis.document)))
    assert again == analysis
    assert again.digest == analysis.digest


def test_layout_does_not_change_the_digest_but_content_does() -> None:
    reordered = "\n".join(["# a comment", *TEXT.strip().splitlines()[::1]]).replace("CT", "[CT]")
    assert parse(reordered).digest == parse(TEXT).digest
    assert parse(TEXT.replace("3}", "4}")).digest != parse(TEXT).digest


def test_every_fault_is_listed() -> None:
    text = TEXT.replace("kind: volume", "kind: film").replace("little\n", "Bad Name\n", 1)
    with pytest.raises(AnalysisInvalid) as invalid:
        parse(text)
    message = str(invalid.value)
    assert "inputs.ct.kind" in message
    assert "name" in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("input: ct", "input: mr", "not described"),
        ("input: ct}", "input: ct, needs: [lungs]}", "wait for each other: lungs -> lungs"),
        ("input: ct}", "input: ct, needs: [heart]}", "needs heart, which is no step"),
        ("minimum_slices", "minimal_slices", "minimal_slices"),
        ("prefer: [thinnest]", "prefer: [prettiest]", "prefer"),
        ("title: A", "titel: A", "titel"),
    ],
)
def test_mistakes_are_named(old: str, new: str, said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        parse(TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a mapping"),
        ("just a line", "not a mapping"),
        ("[1, 2]", "not a mapping"),
        ("a: &a [1]\nb: *a", "YAML alias"),
        ("!!python/object/apply:os.system ['true']", "not well formed YAML"),
        ("a: 1\nb: ]", "see line 2, column 4"),
        ("{" * 60_000, "nests deeper"),
        ("x" * 70_000, "longer than"),
        (f"{TEXT}\ntitle: Another", "'title' is given twice"),
    ],
)
def test_what_is_no_analysis_is_refused(text: str, said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        parse(text)


def test_a_document_keeps_its_digest_when_the_schema_grows() -> None:
    # as it was before there were policies on tilt, phases, PET, and steps that keep something
    text = (
        "name: ct-lungs\nversion: '1'\ntitle: Lungs\n"
        "inputs: {ct: {kind: volume, where: {modality: CT}}}\n"
        "steps: [{name: lungs, model: threshold-lung, input: ct}]\n"
    )
    document = parse(text).document
    assert document["policies"] == {"missing_slice": "refuse"}
    assert document["steps"] == [
        {"name": "lungs", "model": "threshold-lung", "input": "ct", "needs": []}
    ]
    tolerant = parse(text + "policies: {gantry_tilt: resample}\n")
    assert tolerant.document["policies"] == {
        "missing_slice": "refuse",
        "gantry_tilt": "resample",
    }
    assert from_document(tolerant.document) == tolerant


#: everything that the first schema knew
FULL = """
name: full
version: "1"
title: All that the first schema had
description: x
inputs:
  ct:
    kind: volume
    where:
      modality: [CT, PT]
      minimum_slices: 3
      maximum_slices: 900
      maximum_frames: 2
      minimum_rows: 8
      maximum_slice_spacing_mm: 5
      maximum_unread_neighbours: 0
      orientation: axial
      colour: false
      contrast: true
      image_type_contains: A
      image_type_excludes: [B, C]
      description_contains: d
      description_excludes: e
      body_part_contains: f
      kernel_contains: g
      manufacturer_contains: h
    prefer: [most_slices, thinnest, largest_matrix, original, no_contrast, latest]
    each: true
steps:
  - {name: a, model: m, input: ct, keep: [probabilities]}
  - {name: b, model: m, input: ct, needs: [a]}
outputs: [dicom-seg, overlay]
policies: {gantry_tilt: resample}
limits: {deadline_s: 3, maximum_voxels: 9}
"""


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (TEXT, "22761daf274d71479fb67931e95c382a27780b46aafdc055cd37785a7a0478a6"),
        (FULL, "1054e87863174819529c328f52728199b26129d527624738da11bf3506683d78"),
    ],
)
def test_documents_of_the_first_schema_keep_their_digests(text: str, digest: str) -> None:
    assert parse(text).digest == digest


STEPS = """
name: chain
version: "1"
title: Steps that ask each other
inputs:
  ct: {kind: volume, where: {modality: CT}}
steps:
  - name: nodules
    model: demo-ct-nodule-segmentation
    input: ct
    crop: {to: lungs, segments: lung}
    when: {any: [{step: lungs, volume_ml: lung, above: 3}, {not: {step: kind, top: [head]}}]}
  - {name: lungs, model: threshold-lung, input: ct}
  - {name: kind, model: classifier, input: ct, needs: [lungs]}
"""


def test_a_crop_and_a_condition_put_steps_in_order() -> None:
    analysis = parse(STEPS)
    assert analysis.steps[0].after == ("lungs", "kind")
    assert [step.name for step in in_order(analysis.steps)] == ["lungs", "kind", "nodules"]


def test_crops_and_conditions_survive_the_database() -> None:
    analysis = parse(STEPS)
    again = from_document(json.loads(json.dumps(analysis.document)))
    assert again == analysis
    assert again.digest == analysis.digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("to: lungs", "to: heart", "nodules needs heart, which is no step"),
        ("needs: [lungs]", "needs: [nodules]", "wait for each other: nodules -> kind -> nodules"),
        ("to: lungs", "to: nodules", "nodules -> nodules"),
        ("kind: volume", "kind: image", "nodules is cropped, and ct is no volume"),
        ("segments: lung", "segments: []", "steps.0.crop.segments"),
        ("segments: lung", "margin_mm: -1", "steps.0.crop.margin_mm"),
        ("segments: lung", "empty: ignore", "steps.0.crop.empty"),
        ("volume_ml: lung, above: 3", "volume_ml: lung", "volume_ml wants a minimum"),
        ("volume_ml: lung", "volume: lung", "steps.0.when.*volume"),
        ("volume_ml: lung", "score: a, volume_ml: lung", "exactly one of top, score"),
        ("above: 3", "above: 3, minimum_score: 0.5", "minimum_score goes with count"),
        ("top: [head]", "top: [head], minimum: 3", "top takes no minimum"),
        ("[{step: lungs, volume_ml: lung, above: 3}, ", "[], all: [", "steps.0.when"),
    ],
)
def test_mistakes_in_steps_are_named(old: str, new: str, said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        parse(STEPS.replace(old, new))


def test_a_crop_stays_on_its_input() -> None:
    other = STEPS.replace("ct: {k", "pt: {kind: volume, where: {modality: PT}}\n  ct: {k")
    with pytest.raises(AnalysisInvalid, match=r"reads another input \(pt, not ct\)"):
        parse(other.replace("threshold-lung, input: ct", "threshold-lung, input: pt"))


CHANNELS = """
name: tumour
version: "1"
title: Four series of a head as one input
inputs:
  t1c: {kind: volume, where: {modality: MR, description_matches: 't1.*gd'}}
  t1: {kind: volume, where: {modality: MR, description: t1}}
  flair: {kind: volume, where: {modality: MR, description_contains: flair}}
steps:
  - {name: whole, model: m, input: [t1c, t1, flair]}
  - {name: core, model: n, input: [t1c, flair], crop: {to: whole}}
  - {name: size, model: o, input: t1c, crop: {to: whole}, when: {step: core, value: d, above: 1}}
policies: {channel_grid: resample}
"""


def test_several_inputs_are_channels_in_their_order_and_survive_the_database() -> None:
    analysis = parse(CHANNELS)
    assert [step.inputs for step in analysis.steps] == [
        ("t1c", "t1", "flair"),
        ("t1c", "flair"),
        ("t1c",),
    ]
    again = from_document(json.loads(json.dumps(analysis.document)))
    assert again == analysis
    assert again.digest == analysis.digest
    assert parse(CHANNELS.replace("[t1c, t1, flair]", "[t1c, flair, t1]")).digest != again.digest
    assert parse(CHANNELS.replace("resample", "refuse")).document["policies"] == {
        "missing_slice": "refuse"
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[t1c, t1, flair]", "[t1c, t1, t2]", "not described: t2"),
        ("[t1c, flair]", "[t1c, t1c]", "core reads an input as two channels"),
        ("[t1c, flair]", "[flair, t1c]", r"reads another input \(t1c, not flair\)"),
        ("[t1c, flair]", "[t1c]", "steps.1.input"),
        ("description: t1}", "description: t1}, each: true", "t1 as a channel.*every series"),
        ("t1: {kind: volume", "t1: {kind: image", "t1 as a channel.*single images"),
        ("[t1c, t1, flair]", "[t1c, flair]", "no step reads these inputs: t1"),
    ],
)
def test_mistakes_in_channels_are_named(old: str, new: str, said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        parse(CHANNELS.replace(old, new))


PREPARED = """
name: smoothed
version: "1"
title: What is smoothed first
inputs:
  ct: {kind: volume, where: {modality: CT}}
prepare:
  smooth: {of: ct, steps: [{median: {radius_mm: 1}}, {window: {level: 40, width: 400}}]}
  bone: {of: ct, steps: [{resample: {spacing_mm: [2, 1, 1]}}, {threshold: {minimum: 200}}]}
steps:
  - {name: body, model: m, input: smooth}
  - {name: fine, model: n, input: [smooth, bone, ct], crop: {to: body}}
"""


def test_prepared_inputs_survive_the_database_and_change_the_digest() -> None:
    analysis = parse(PREPARED)
    assert analysis.origin("smooth") == analysis.origin("ct") == "ct"
    assert analysis.rule("bone") is analysis.inputs["ct"]
    again = from_document(json.loads(json.dumps(analysis.document)))
    assert again == analysis
    assert again.digest == analysis.digest
    assert parse(PREPARED.replace("radius_mm: 1", "radius_mm: 2")).digest != analysis.digest
    assert "prepare" not in parse(TEXT).document


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("smooth: {of: ct", "smooth: {of: mr", "smooth is made of mr, which is no input"),
        ("smooth: {of: ct", "smooth: {of: bone", "smooth is made of bone, which is no input"),
        ("bone: {of", "ct: {of", "ct is both an input and a prepared one"),
        ("[smooth, bone, ct]", "[smooth, ct]", "no step reads these inputs: bone"),
        ("[smooth, bone, ct]", "[smooth, bone, t2]", "not described: t2"),
        ("[smooth, bone, ct]", "[smooth, smooth]", "fine reads an input as two channels"),
        ("radius_mm: 1", "radius: 1", r"prepare.smooth.steps.0.median.radius:"),
        ("median:", "mean:", r"prepare.smooth.steps.0.mean:"),
        ("{window:", "{open: {radius_mm: 1}}, {window:", "smooth cannot be made: open mends a"),
        ("[2, 1, 1]", "[2, 1]", "bone cannot be made: resample states 2 sizes"),
        ("kind: volume", "kind: image", "bone cannot be made: resample states 3 sizes"),
        ("where: {modality: CT}", "where: {modality: CT}, each: true", "every series"),
    ],
)
def test_mistakes_in_prepared_inputs_are_named(old: str, new: str, said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        parse(PREPARED.replace(old, new))


def test_the_schema_for_editors_knows_clauses_crops_and_conditions() -> None:
    schema = json_schema()
    kinds = schema["$defs"]
    assert kinds["Where"]["properties"]["modality"]["anyOf"][0]["type"] == "string"
    assert "modality" in kinds["Where"]["required"]
    assert "kernel_matches" in kinds["Clauses"]["properties"]
    assert kinds["Crop"]["additionalProperties"] is False
    assert {"step", "score", "above"} <= set(kinds["Comparison"]["properties"])
    assert {"all"} == set(kinds["All"]["properties"])
    assert {"not"} == set(kinds["Not"]["properties"])
    assert {"of", "steps"} == set(kinds["Preparation"]["properties"])
    assert kinds["ImageStep"]["maxProperties"] == 1
    assert {"median", "grow", "open"} <= set(kinds["ImageStep"]["properties"])
    assert "radius_mm" in kinds["Median"]["properties"]


def _blocks() -> list[dict[str, Any]]:
    """Return every YAML example of the page on analyses."""
    found = re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    return [yaml.safe_load(block) for block in found]


@pytest.mark.parametrize("block", _blocks(), ids=lambda block: next(iter(block)))
def test_an_example_for_readers_is_valid(block: dict[str, Any]) -> None:
    document = yaml.safe_load(TEXT)
    if "where" in block:
        document["inputs"]["ct"]["where"] = block["where"]
    elif "steps" in block:
        steps, prepared = block["steps"], block.get("prepare", {})
        named = [step["input"] for step in steps]
        names = [name for one in named for name in (one if isinstance(one, list) else [one])]
        names = [prepared[name]["of"] if name in prepared else name for name in names]
        document["prepare"] = prepared
        document["inputs"] = dict.fromkeys(names, document["inputs"]["ct"])
        document["steps"] = steps
    else:
        document = block
    from_document(document)


def test_a_condition_for_readers_is_valid() -> None:
    rows = re.findall(r"^\| `(\{step: .*?\})` \|", DOCS.read_text(), re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        TypeAdapter(Condition).validate_python(yaml.safe_load(row))


def test_tie_breakers_are_described_for_readers() -> None:
    text = DOCS.read_text()
    assert [word for word in get_args(TieBreaker) if f"`{word}`" not in text] == []
