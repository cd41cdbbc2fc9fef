"""What a training leaves: the card, the scores of each case and the page that shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.evaluation import scores, summary
from pipeline.models import bundle
from pipeline.training import manifest, product, recipe
from pipeline.training.checkpoint import Epoch
from pipeline.training.faults import Fault
from pipeline.training.product import Learned, Measured
from tests import quick_training
from tests.pipeline.evaluation import made_scores


def learned(folder: Path) -> Learned:
    folder.mkdir()
    wanted = recipe.check(quick_training.CLASSIFICATION)
    return Learned(
        recipe=wanted,
        snapshot=manifest.freeze(quick_training.write_images(folder), wanted),
        version="1.0",
        weights={"weight": torch.zeros(1)},
        best_epoch=2,
        history=[
            Epoch(losses={"loss": loss}, score=None, learning_rate=0.02) for loss in (0.7, 0.5)
        ],
    )


def measured() -> Measured:
    of_cases = made_scores.binary([0, 0, 1, 1], [0.1, 0.2, 0.9, 0.4])
    named = of_cases.model_copy(update={"labels": ("dark", "bright")})
    return Measured(scores=named, metrics=summary.summarise(named))


def test_the_card_tells_the_numbers_and_where_the_rest_is(tmp_path: Path) -> None:
    product.write(tmp_path / "bundle", learned(tmp_path / "cases"), measured())
    card = (tmp_path / "bundle" / bundle.CARD).read_text()
    assert "| accuracy | 0.75 | 0.25 to 1, n 4 |" in card
    assert "| bright recall | 0.5 | " in card
    assert "8 cases to train on, 4 to choose the best epoch, 4 held out" in card
    assert "evaluation.html" in card


def test_card_and_page_say_what_is_odd_about_the_cases(tmp_path: Path) -> None:
    made = learned(tmp_path / "cases")
    found = [Fault(0, "site", "all cases are of one site")]
    found += [Fault(row, "label", "boxes were cut") for row in (1, 2)]
    odd = replace(made, snapshot=replace(made.snapshot, warnings=tuple(found)))
    product.write(tmp_path / "bundle", odd, measured())
    for name in (bundle.CARD, product.PAGE):
        text = (tmp_path / "bundle" / name).read_text()
        assert "The cases, site: all cases are of one site" in text
        assert "The cases, label: boxes were cut (rows: 2)" in text


def test_scores_are_kept_as_they_are_and_shown(tmp_path: Path) -> None:
    made = product.write(tmp_path / "bundle", learned(tmp_path / "cases"), measured())
    assert scores.parse((made.folder / product.SCORES).read_bytes()) == measured().scores
    page = (made.folder / product.PAGE).read_text()
    assert "quick@1.0" in page
    assert "ROC of bright" in page


def test_the_course_of_the_training_is_kept_and_shown(tmp_path: Path) -> None:
    made = product.write(tmp_path / "bundle", learned(tmp_path / "cases"), measured())
    course = json.loads((made.folder / product.COURSE).read_text())
    assert [epoch["losses"]["loss"] for epoch in course["epochs"]] == [0.7, 0.5]
    assert "<figcaption>Loss</figcaption>" in (made.folder / product.PAGE).read_text()


def test_a_bundle_that_is_not_measured_yet_says_nothing_of_it(tmp_path: Path) -> None:
    made = product.write(tmp_path / "bundle", learned(tmp_path / "cases"), None)
    assert not (made.folder / product.SCORES).exists()
    assert not (made.folder / product.PAGE).exists()


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    source = learned(tmp_path / "cases")
    first, again = (product.write(tmp_path / name, source, measured()) for name in ("a", "b"))
    assert first.digest == again.digest
