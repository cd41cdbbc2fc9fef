from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis import AnalysisInvalid, from_document
from pipeline.analysis.clauses import VOCABULARY

DOCS = Path(__file__).parents[3] / "docs" / "analyses.md"


def where(**clauses: Any) -> dict[str, Any]:
    """Return the clauses of an input as the document keeps them."""
    document = {
        "name": "little",
        "version": "1",
        "title": "A little analysis",
        "inputs": {"ct": {"kind": "volume", "where": {"modality": "CT", **clauses}}},
        "steps": [{"name": "lungs", "model": "threshold-lung", "input": "ct"}],
    }
    kept: dict[str, Any] = from_document(document).document["inputs"]["ct"]["where"]
    return kept


def test_one_value_stands_for_a_list_of_one() -> None:
    assert where(description="AX", series_number=3, orientation="axial") == where(
        description=["AX"], series_number=[3], orientation=["axial"]
    )


def test_what_is_not_asked_is_not_kept() -> None:
    assert where() == {"modality": ["CT"]}


def test_every_clause_is_accepted_and_described_for_readers() -> None:
    text = DOCS.read_text()
    for name, clause in VOCABULARY.items():
        value: Any = "x"
        if clause.expects is bool:
            value = True
        elif clause.is_about_numbers:
            value = 3
        elif name == "orientation":
            value = "axial"
        if name != "modality":
            assert name in where(**{name: value})
        word = name.removeprefix("minimum_").removeprefix("maximum_")
        for ending in ("_contains_all", "_contains", "_excludes", "_matches"):
            word = word.removesuffix(ending)
        assert f"`{word}`" in text, f"docs/analyses.md says nothing of {word}"


@pytest.mark.parametrize(
    ("clauses", "said"),
    [
        ({"kernel_matches": "(B30"}, "where.kernel_matches.*not closed"),
        ({"minimum_slices": 0}, "where.minimum_slices"),
        ({"maximum_thickness_mm": float("nan")}, "where.maximum_thickness_mm"),
        ({"orientation": "diagonal"}, "where.orientation"),
        ({"any_of": []}, "where.any_of"),
        ({"any_of": [{}]}, "no clause is asked"),
        ({"none_of": [{"any_of": [{"rows": 3}]}]}, "none_of.0.any_of"),
        ({"kernel_begins": "B"}, "kernel_begins"),
    ],
)
def test_a_bad_clause_is_named(clauses: dict[str, Any], said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        where(**clauses)
