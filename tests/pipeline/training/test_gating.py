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
import torch

import models as shipped_models
from pipeline.deidentify.keys import make_key, read_key
from pipeline.errors import TrainingRefused
from pipeline.evaluation.scores import ScoresRefused
from pipeline.models import bundle, networks, predictors
from pipeline.models.devices import Device
from pipeline.training import (
    gate_order,
    gating,
    judging,
    kept_cases,
    process,
    product,
    recipe,
    verdict_again,
    worst_cases,
)
from pipeline.training.manifest import Part, freeze
from tests import quick_training
from tests.pipeline.training.test_objects import BORDER, write_cells
from tests.pipeline.training.test_restoration import BESIDE, DENOISING, FINER, FLAT_EDSR

RULE: dict[str, Any] = {"statistic": "accuracy", "least_patients": 2, "wants": "not worse"}
RECIPE = quick_training.CLASSIFICATION | {"gate": RULE, "epochs": 6}
APART = quick_training.SEGMENTATION | {"options": {"instances": True}}
WITHOUT_BORDER = BORDER | {
    "network": {"name": "UNet", "arguments": BORDER["network"]["arguments"] | {"out_channels": 2}},
    "labels": [{"number": 1, "name": "cell"}],
    "options": {"instances": True},
}
LARGER = BESIDE | {"network": FLAT_EDSR, "options": {"scale": 2, "residual": True}}
SIGMOID = quick_training.CLASSIFICATION | {
    "loss": "binary-cross-entropy",
    "options": {"activation": "sigmoid"},
}
AGED = RECIPE | {
    "network": {
        "name": "FiLMNet",
        "arguments": {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            "features": [4, 8],
            "values": 1,
        },
    },
    "input": RECIPE["input"] | {"table": [{"name": "age", "mean": 45, "scale": 20}]},
}
AGED_OTHERWISE = AGED | {"input": RECIPE["input"] | {"table": [{"name": "age", "mean": 50}]}}


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

    def untrained(self, name: str, stated: Mapping[str, Any]) -> Trained:
        """Make a version of a recipe whose weights are chance."""
        wanted = recipe.check(stated)
        torch.manual_seed(0)
        network = networks.build(wanted.network.name, wanted.network.arguments)
        folder = self.root / name / "bundle"
        folder.parent.mkdir(parents=True)
        made = bundle.write(
            folder,
            wanted.spec(name),
            weights=network.state_dict(),
            card="Untrained.",
            files={product.RECIPE: json.dumps(wanted.stated()).encode()},
        )
        version = gate_order.Version(
            model="quick", version=name, digest=made.digest, bundle=str(folder), cases=None
        )
        return Trained(version, folder, {})

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


def balls(manifest: Path) -> None:
    """Write volumes and masks in place of the cases."""
    quick_training.write_balls(manifest.parent, "segmentation", count=16)


def volumes(manifest: Path) -> None:
    """Write volumes without a label in place of the cases."""
    quick_training.write_balls(manifest.parent, "restoration", count=16)


def cells(manifest: Path) -> None:
    """Write images of cells and maps of them in place of the cases."""
    write_cells(manifest.parent, count=16)


def ages(manifest: Path) -> None:
    """Say of each patient that he is 50 years old."""
    header, *lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([f"{header},age", *(f"{line},50" for line in lines)]) + "\n")


def second_series(manifest: Path) -> None:
    """Put the image of the next case, of the other class, beside each."""
    header, *lines = manifest.read_text().splitlines()
    images = [line.split(",")[0] for line in lines]
    beside = [f"{line},{next_}" for line, next_ in zip(lines, images[1:] + images[:1], strict=True)]
    manifest.write_text("\n".join([f"{header},image2", *beside]) + "\n")


def of_images(*images: int) -> dict[str, Any]:
    """Return a recipe that takes these images of a case."""
    return RECIPE | {"input": RECIPE["input"] | {"images": images}}


def held_against(
    active: Mapping[str, Any],
    candidate: Mapping[str, Any],
    folder: Path,
    write: Callable[[Path], None] | None,
) -> Trained:
    """Hold an untrained version of one recipe against that of another, by what ``write`` wrote."""
    make_key(folder / "key")
    school = School(folder)
    old, new = school.untrained("0.8", active), school.untrained("0.9", candidate)
    return school.hold("1.0", old, made=new, stated=candidate, change=write)


@pytest.mark.parametrize(
    ("active", "candidate", "write"),
    [
        pytest.param(APART, quick_training.SEGMENTATION, balls, id="it alone tells objects apart"),
        pytest.param(quick_training.SEGMENTATION, APART, balls, id="it tells no objects apart"),
        pytest.param(AGED, RECIPE, ages, id="it reads an age"),
        pytest.param(RECIPE, AGED, ages, id="it reads no age"),
        pytest.param(of_images(1), of_images(0), second_series, id="other images"),
        pytest.param(SIGMOID, RECIPE, None, id="any number of labels"),
        pytest.param(DENOISING, LARGER, volumes, id="another scale"),
        pytest.param(FINER, LARGER, volumes, id="of slices too"),
    ],
)
def test_an_active_version_that_is_asked_something_else_leaves_nothing_to_decide(
    tmp_path: Path,
    active: Mapping[str, Any],
    candidate: Mapping[str, Any],
    write: Callable[[Path], None] | None,
) -> None:
    decision, sentence = verdict_of(held_against(active, candidate, tmp_path, write))
    assert decision == "cannot decide"
    assert "quick@0.8 is of another kind, has other labels or other inputs" in sentence


@pytest.mark.parametrize(
    ("active", "candidate", "write"),
    [
        pytest.param(BORDER, WITHOUT_BORDER, cells, id="a border that is not judged"),
        pytest.param(RECIPE, of_images(0), None, id="the one image that there is"),
        pytest.param(AGED, AGED_OTHERWISE, ages, id="an age on another scale"),
    ],
)
def test_an_active_version_that_only_learnt_otherwise_is_judged(
    tmp_path: Path,
    active: Mapping[str, Any],
    candidate: Mapping[str, Any],
    write: Callable[[Path], None] | None,
) -> None:
    found = held_against(active, candidate, tmp_path, write)
    assert found.statement["trouble"] == []
    assert found.statement["verdict"]["comparison"] is not None


def changed_copy(first: Trained, folder: Path, change: Callable[[Path], None]) -> Trained:
    """Return a version whose bundle is changed, its scores still in it."""
    shutil.copytree(first.version.bundle, folder)
    change(folder)
    return replace(first, version=replace(first.version, bundle=str(folder)))


def test_scores_that_it_gave_of_the_same_cases_by_other_inputs_are_taken(
    school: School, first: Trained, tmp_path: Path
) -> None:
    def takes_the_second(folder: Path) -> None:
        (folder / product.RECIPE).write_text(json.dumps(recipe.check(of_images(1)).stated()))

    other = changed_copy(first, tmp_path / "bundle", takes_the_second)
    found = school.hold("1.9", other, made=first)
    assert found.statement["trouble"] == []
    assert found.statement["active"]["scores"] is not None


def test_a_bundle_without_a_recipe_is_held_against_all_the_same(
    school: School, first: Trained, tmp_path: Path
) -> None:
    def comes_from_elsewhere(folder: Path) -> None:
        (folder / product.RECIPE).unlink()
        (folder / product.SCORES).unlink()

    other = changed_copy(first, tmp_path / "bundle", comes_from_elsewhere)
    assert verdict_of(school.hold("1.10", other, made=first))[0] == "promote"


def test_a_recipe_in_a_bundle_that_cannot_be_read_leaves_nothing_to_decide(
    school: School, first: Trained, tmp_path: Path
) -> None:
    def breaks_off(folder: Path) -> None:
        (folder / product.RECIPE).write_text("{")
        (folder / product.SCORES).unlink()

    broken = changed_copy(first, tmp_path / "bundle", breaks_off)
    decision, sentence = verdict_of(school.hold("1.11", broken, made=first))
    assert decision == "cannot decide"
    assert "could not be judged: the recipe in its bundle cannot be read" in sentence


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
