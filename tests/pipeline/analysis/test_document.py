from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.analysis import AnalysisInvalid, from_document, parse

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
    "text",
    [
        "",
        "just a line",
        "[1, 2]",
        "a: &a [1]\nb: *a",
        "!!python/object/apply:os.system ['true']",
        "{" * 5000,
        "x" * 70_000,
    ],
)
def test_what_is_no_analysis_is_refused(text: str) -> None:
    with pytest.raises(AnalysisInvalid):
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
