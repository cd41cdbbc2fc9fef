"""What is watched of a job, and what never is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.drift.intensities import summarise
from pipeline.drift.observing import observe
from pipeline.volume import Image, Volume

SERIES = {
    "manufacturer": "Acme",
    "series_description": "a name may stand here",
    "protocol": "and here",
    "spacing_mm": [2.5, 0.7, 0.8],
    "pixel_spacing_mm": None,
    "rows": 512,
    "contrast": False,
    "field_strength_t": None,
}


def said(kind: str, label: str, **more: Any) -> dict[str, Any]:
    plain = {"step": "s", "value": None, "score": None, "is_top": False}
    return plain | {"kind": kind, "label": label} | more


def test_tags_are_numbers_or_words_and_free_text_is_neither() -> None:
    seen = observe(SERIES, {}, [])
    assert seen.numbers == {
        "tag.rows": 512.0,
        "tag.spacing_z_mm": 2.5,
        "tag.spacing_y_mm": 0.7,
        "tag.spacing_x_mm": 0.8,
    }
    assert seen.words["tag.manufacturer"] == "Acme"
    assert "a name may stand here" not in str(seen)
    assert "and here" not in str(seen)


def test_answers_scores_counts_and_sizes_are_watched() -> None:
    results = [
        said("classification", "dark", score=0.9, is_top=True),
        said("classification", "bright", score=0.1),
        said("detection", "nodule", score=0.4),
        said("detection", "nodule", score=0.7),
        said("segment", "lung", value=3000.0),
        said("measurement", "length", value=12.0),
    ]
    seen = observe({}, {"mean": 5.0}, results)
    assert seen.numbers == {
        "intensity.mean": 5.0,
        "output.s.dark.score": 0.9,
        "output.s.bright.score": 0.1,
        "output.s.nodule.count": 2.0,
        "output.s.nodule.best_score": 0.7,
        "output.s.lung.size": 3000.0,
        "output.s.length.value": 12.0,
    }
    assert seen.words["output.s.answer"] == "dark"
    assert seen.words["output.s.nodule.found"] == "yes"


def test_intensities_are_those_of_the_values_that_are_numbers() -> None:
    pixels = np.array([[[0.0, 1.0, 2.0], [3.0, 4.0, np.nan]]], np.float32)
    expected = {"mean": 2.0, "sd": round(2**0.5, 4), "p5": 0.2, "p50": 2.0, "p95": 3.8}
    assert summarise(Image(pixels=pixels)) == pytest.approx(expected)
    assert summarise(Image(pixels=np.full((1, 2, 2), np.inf))) == {}


def test_intensities_of_a_large_volume_are_in_its_unit_and_told_by_an_even_part() -> None:
    stored = np.random.default_rng(1).normal(1100.0, 10.0, (20, 256, 256)).astype(np.int16)
    found = summarise(Volume(stored=stored, affine=np.eye(4), slope=2.0, intercept=-1000.0))
    assert found["mean"] == pytest.approx(1199.0, abs=0.3)
    assert found["sd"] == pytest.approx(20.0, abs=0.2)
