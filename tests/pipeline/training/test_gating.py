"""The gate at the end of a training: what it judges, what it leaves, that it comes out again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models as shipped_models
from pipeline.deidentify.keys import read_key
from pipeline.errors import TrainingRefused
from pipeline.evaluation.scores import ScoresRefused
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.training import (
    gate_order,
    gating,
    judging,
    kept_cases,
    process,
    recipe,
    verdict_again,
    worst_cases,
)
from pipeline.training.manifest import Part, freeze
from tests import quick_training

RULE: dict[str, Any] = {"statistic": "accuracy", "least_patients": 2, "wants": "not worse"}
RECIPE = quick_training.CLASSIFICATION | {"gate": RULE, "epochs": 6}


class Unstopped(process.Stop):
    """Nobody asks to stop; no signal is listened to."""

    def __init__(self) -> None:
        self.is_asked = False


@dataclass(frozen=True)
class Trained:
    """One training and what its gate left."""

    version: gate_order.Version
    folder: Path
    statement: Mapping[str, Any]

    def read(self, sha256: str) -> bytes:
        files = [*self.folder.iterdir(), *self.folder.parent.parent.glob("*/gate/*.json")]
        named = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in files}
        return named[sha256].read_bytes()


@dataclass(frozen=True)
class School:
    """Makes versions of one model, and holds one against another."""

    root: Path

    def cases(self, name: str, change: Callable[[Path], None] | None = None) -> Path:
        """Write the cases of one version; returns their manifest."""
        folder = self.root / name / "cases"
        folder.mkdir(parents=True)
        manifest = quick_training.write_images(folder, count=32)
        if change is not None:
            change(manifest)
        return manifest

    def train(self, name: str, manifest: Path, order: gate_order.GateOrder) -> Trained:
        """Train a version, gate and all."""
        bundle_folder = self.root / name / "bundle"
        process.run(
            process.Order(
                recipe=RECIPE,
                manifest=str(manifest),
                folder=str(self.root / name / "work"),
                bundle=str(bundle_folder),
                version=name,
                device="cpu",
                threads=1,
                deidentify_key=str(self.root / "key"),
                gate=asdict(order),
            ),
            lambda _: None,
            Unstopped(),
        )
        return self.trained(name, bundle_folder)

    def hold(
        self,
        name: str,
        active: Trained,
        *,
        made: Trained | None = None,
        stated: Mapping[str, Any] = RECIPE,
        change: Callable[[Path], None] | None = None,
    ) -> Trained:
        """Hold a version (the active one itself, unless told) against the active one."""
        manifest, wanted = self.cases(name, change), recipe.check(stated)
        snapshot = freeze(manifest, wanted)
        loaded = bundle.load(Path((made or active).version.bundle))
        held_out = snapshot.part(Part.HELD_OUT)
        cpu = Device("cpu")
        predictor = predictors.open(loaded, device=cpu)
        candidate = gating.Candidate(
            recipe=wanted,
            version=name,
            digest=loaded.digest,
            held_out=held_out,
            cases=kept_cases.keep(snapshot, read_key(self.root / "key"), is_deidentified=False),
            scores=judging.judge(held_out, wanted, predictor, checkpoint=nothing),
            predictor=predictor,
        )
        gating.run(self.order(name, active), candidate, device=cpu, checkpoint=nothing)
        return self.trained(name, loaded.folder)

    def order(self, name: str, active: Trained | None) -> gate_order.GateOrder:
        held = None if active is None else active.version
        folder = str(self.root / name / "gate")
        return gate_order.GateOrder(
            folder=folder, active=held, line=() if held is None else (held,)
        )

    def trained(self, name: str, folder: Path) -> Trained:
        gate = self.root / name / "gate"
        version = gate_order.Version(
            model="quick",
            version=name,
            digest=bundle.load(folder).digest,
            bundle=str(folder),
            cases=str(gate / gate_order.CASES),
        )
        return Trained(version, gate, json.loads((gate / gate_order.STATEMENT).read_text()))


def nothing() -> None:
    """Nobody asks to stop."""


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    return School(tmp_path_factory.mktemp("school"))


@pytest.fixture(scope="module")
def first(school: School) -> Trained:
    return school.train("1.0", school.cases("1.0"), school.order("1.0", None))


@pytest.fixture(scope="module")
def same_again(school: School, first: Trained) -> Trained:
    return school.hold("1.1", first)


def verdict_of(trained: Trained) -> tuple[str, str]:
    verdict = trained.statement["verdict"]
    return verdict["decision"], verdict["sentence"]


def test_a_first_version_without_floors_is_not_decided(first: Trained) -> None:
    assert verdict_of(first) == (
        "cannot decide",
        "no version is active to compare with, and the rule states no floors",
    )


def test_the_same_model_twice_is_not_worse_and_not_better(
    school: School, first: Trained, same_again: Trained
) -> None:
    assert same_again.statement["active"]["digest"] == first.version.digest
    assert verdict_of(same_again)[0] == "promote"  # as the rule wants no more than that
    gain = same_again.statement["verdict"]["comparison"]["gain"]
    assert gain == 0.0
    better = RECIPE | {"gate": RULE | {"wants": "better"}}
    assert verdict_of(school.hold("1.2", first, stated=better))[0] == "refuse"


def test_scores_that_lie_in_the_bundle_are_not_computed_again(
    first: Trained, same_again: Trained
) -> None:
    assert (same_again.folder / gate_order.ACTIVE).read_bytes() == (
        Path(first.version.bundle) / "docs/evaluation.json"
    ).read_bytes()


def test_an_active_version_of_other_cases_is_judged_on_these(
    school: School, first: Trained
) -> None:
    def other_images(manifest: Path) -> None:
        for image in manifest.parent.glob("*.npy"):
            values = np.load(image)
            np.save(image, values * 0.99)

    found = school.hold("1.3", first, change=other_images)
    assert found.statement["active"]["scores"] != first.statement["candidate"]["scores"]
    decision, sentence = verdict_of(found)
    assert (decision, found.statement["trouble"]) == ("promote", []), sentence


def test_a_model_of_shuffled_labels_is_refused(school: School, first: Trained) -> None:
    def shuffle(manifest: Path) -> None:
        lines = manifest.read_text().splitlines()
        turned = {"dark": "bright", "bright": "dark"}
        for number, line in enumerate(lines):
            image, label, *rest = line.split(",")
            if rest[-1] == "training":
                lines[number] = ",".join([image, turned[label], *rest])
        manifest.write_text("\n".join(lines) + "\n")

    found = school.train("1.4", school.cases("1.4", shuffle), school.order("1.4", first))
    decision, sentence = verdict_of(found)
    assert decision == "refuse", sentence
    assert "accuracy is worse" in sentence


def test_patients_who_change_sides_leave_nothing_to_decide(school: School, first: Trained) -> None:
    def swap(manifest: Path) -> None:
        text = manifest.read_text()
        text = text.replace("held-out", "TEST").replace("validation", "held-out")
        manifest.write_text(text.replace("TEST", "validation"))

    found = school.hold("1.5", first, change=swap)
    decision, sentence = verdict_of(found)
    assert decision == "cannot decide"
    assert "8 patients of the held-out cases were trained on by quick@1.0" in sentence
    assert "8 patients that were held out from quick@1.0 are trained on now" in sentence


def test_an_active_version_that_cannot_be_loaded_leaves_nothing_to_decide(
    school: School, first: Trained, tmp_path: Path
) -> None:
    shutil.copytree(first.version.bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / bundle.WEIGHTS).write_bytes(b"nothing")
    (tmp_path / "bundle" / "docs/evaluation.json").unlink()
    broken = replace(first, version=replace(first.version, bundle=str(tmp_path / "bundle")))
    decision, sentence = verdict_of(school.hold("1.6", broken, made=first))
    assert decision == "cannot decide"
    assert "quick@1.0 could not be judged" in sentence


def test_an_active_version_of_another_kind_leaves_nothing_to_decide(
    school: School, first: Trained
) -> None:
    shipped = Path(next(iter(shipped_models.__path__))) / "threshold-lung"
    other = replace(first, version=replace(first.version, bundle=str(shipped)))
    decision, sentence = verdict_of(school.hold("1.7", other, made=first))
    assert decision == "cannot decide"
    assert "quick@1.0 is of another kind, has other labels or other inputs" in sentence


def test_an_active_version_of_other_labels_leaves_nothing_to_decide(
    school: School, first: Trained
) -> None:
    def rename(manifest: Path) -> None:
        manifest.write_text(manifest.read_text().replace(",bright,", ",shining,"))

    labels = [{"number": 0, "name": "dark"}, {"number": 1, "name": "shining"}]
    stated = RECIPE | {"labels": labels}
    decision, sentence = verdict_of(school.hold("1.8", first, stated=stated, change=rename))
    assert decision == "cannot decide"
    assert "has other labels" in sentence


def test_the_verdict_is_computed_again_from_what_was_kept(
    first: Trained, same_again: Trained
) -> None:
    for one in (first, same_again):
        assert verdict_again.again(one.statement, one.read) == one.statement["verdict"]


def test_a_file_that_was_changed_is_found_out(same_again: Trained) -> None:
    with pytest.raises(ScoresRefused, match="not what it was"):
        verdict_again.again(same_again.statement, lambda sha256: same_again.read(sha256) + b" ")


def test_the_page_shows_both_versions_and_no_patient(same_again: Trained) -> None:
    page = (same_again.folder / gate_order.PAGE).read_text()
    assert "candidate quick@1.1, active quick@1.0" in page
    assert "<strong>promote</strong>" in page
    assert "<h2>Conditions</h2>" in page
    assert "<h2>Figures</h2>" in page
    assert "by score of the true label" in page
    assert page.count("data:image/webp;base64,") == worst_cases.COUNT
    assert "called" in page


def test_what_is_kept_of_the_cases_names_nobody(first: Trained) -> None:
    text = (first.folder / gate_order.CASES).read_text()
    kept = kept_cases.parse(text)
    assert len(kept.cases) == 32
    assert len(kept.patients(held_out=True)) == 8
    names = [f"p{number}" for number in range(32)]
    assert not {one.patient for one in kept.cases} & set(names)
    assert all(one.patient.startswith("P") and len(one.patient) == 17 for one in kept.cases)


def test_cases_named_under_another_key_cannot_be_compared(first: Trained) -> None:
    kept = kept_cases.parse((first.folder / gate_order.CASES).read_text())
    other = kept.model_copy(update={"key": "0" * 16})
    assert kept_cases.shared(kept, kept, "quick@1.0") == []
    (sentence,) = kept_cases.shared(kept, other, "quick@1.0")
    assert "another key" in sentence


def test_a_recipe_whose_gate_asks_for_what_there_is_not_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="not judged by dice"):
        recipe.check(RECIPE | {"gate": {"statistic": "dice"}})
