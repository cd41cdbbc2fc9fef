"""Studies that lack a series, and headers that lack an age, through the whole program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pydicom
import pytest
import torch
from torch import Tensor

from pipeline import phantoms
from pipeline.models import bundle, networks
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec, TableValue
from pipeline.models.whole_inputs import network_input
from pipeline.phantoms import PhantomParameters, Weighting, Written
from tests.pipeline.dicom.made_series import read_volume
from tests.system.program import Program

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

HEAD: Final = PhantomParameters(
    shape=(12, 40, 36), spacing=(8.0, 5.5, 5.4), lesions=2, radius=(9.0, 14.0)
)
#: every study has a FLAIR, but for the last
STUDIES: Final = {
    "whole": (Weighting.T1, Weighting.T2, Weighting.FLAIR),
    "without-t1": (Weighting.T2, Weighting.FLAIR),
    "other": (Weighting.T1C,),
}
#: what the headers of the first study say of the patient: texts that stand nowhere by chance
PATIENT: Final = {"PatientAge": "077Y", "PatientSex": "F", "PatientWeight": "81.371"}
INPUT: Final = InputSpec(modalities=("MR",), spatial_dims=3, size=(8, 16, 16))
FUSED: Final = """
name: fused
version: "1"
title: A head by up to three series
inputs:
  t1: {kind: volume, where: {modality: MR, description: t1}, optional: true}
  t2: {kind: volume, where: {modality: MR, description: t2}, optional: true}
  flair: {kind: volume, where: {modality: MR, description: flair}}
steps:
  - {name: fused, model: fusing, input: [t1, t2, flair]}
outputs: [dicom-sr, overlay]
"""
TOLD: Final = """
name: told
version: "1"
title: A head, and who it belongs to
inputs:
  flair: {kind: volume, where: {modality: MR, description: flair}}
steps:
  - {name: told, model: told, input: flair}
outputs: [overlay]
"""


def spec(name: str, network: str, **arguments: Any) -> ModelSpec:
    stated = replace(INPUT, channels=3) if name == "fusing" else INPUT
    if name == "told":
        table = (
            TableValue(name="age", mean=60.0, scale=20.0),
            TableValue(name="sex"),
            TableValue(name="weight", mean=80.0, scale=10.0),
        )
        stated = replace(INPUT, table=table)
    sizes = {"spatial_dims": 3, "in_channels": stated.channels, "out_channels": 2}
    return ModelSpec(
        name=name,
        version="1",
        kind=Kind.CLASSIFICATION,
        title=name,
        input=stated,
        labels=(Label(number=0, name="no"), Label(number=1, name="yes")),
        network=network,
        network_arguments={**sizes, "features": [4, 8], **arguments},
    )


FUSING: Final = spec("fusing", "EarlyFusion")
TELLING: Final = spec("told", "FiLMNet", values=5)


def built(model: ModelSpec) -> torch.nn.Module:
    torch.manual_seed(5)
    network = networks.build(str(model.network), model.network_arguments).eval()
    for value in network.parameters():
        torch.nn.init.normal_(value.requires_grad_(requires_grad=False), 0.0, 0.5)
    return network


def write_bundle(model: ModelSpec, folder: Path) -> Path:
    weights = built(model).state_dict()
    return bundle.write(folder, model, weights=weights, card="# Small\n").folder


def write_study(folder: Path, seed: int, weightings: tuple[Weighting, ...]) -> Written:
    """Write a study, each series in a folder of its own; return the first."""
    written = [
        phantoms.write_series(
            phantoms.head(replace(HEAD, seed=seed), weighting=weighting),
            folder / weighting,
            seed=seed + number,
            study_seed=seed,
            description=weighting,
        )
        for number, weighting in enumerate(weightings)
    ]
    return written[0]


def tell(folder: Path, elements: dict[str, str]) -> None:
    """Change what every header of a study says of the patient."""
    for path in folder.rglob("*"):
        if path.is_file():
            dataset = pydicom.dcmread(path)
            for keyword, value in elements.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)


class Scene:
    """Three studies, two models, two analyses, and what became of them."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.studies = {
            name: write_study(self.source / name, 100 * number, weightings)
            for number, (name, weightings) in enumerate(STUDIES.items(), start=1)
        }
        tell(self.source / "whole", PATIENT)
        tell(self.source / "without-t1", {"PatientSex": ""})
        self.home = folder / "home"
        self.program = Program(folder, self.source)
        for model in (FUSING, TELLING):
            path = write_bundle(model, folder / model.name)
            self.program("models", "register", str(path), "--promote", "--why", "test")
        # 4: some studies are rejected
        self.program.run(FUSED, TOLD, status=4)

    def job(self, study: str, analysis: str) -> dict[str, Any]:
        """Return the job.json of one study."""
        uid = self.studies[study].study_instance_uid
        (job,) = (one for one in self.program.jobs(analysis) if one["study"] == uid)
        return job

    def told(self, study: str, analysis: str) -> dict[str, Any]:
        """Return what the run report says of the one input of the one step."""
        (told,) = self.job(study, analysis)["report"]["steps"][0]["inputs"]
        return dict(told)

    def score(self, study: str, analysis: str) -> float:
        """Return the score of "yes"."""
        results = self.job(study, analysis)["results"]
        return next(float(one["score"]) for one in results if one["label"] == "yes")

    def seen(self, study: str, weighting: Weighting) -> Tensor:
        """Return one series as a network sees it, (1, 1, *spatial)."""
        return network_input(read_volume(self.source / study / weighting), TELLING)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """One run over everything."""
    return Scene(tmp_path_factory.mktemp("incomplete"))


def yes(logits: Tensor) -> float:
    return float(logits.softmax(1)[0, 1])


def test_a_study_is_answered_for_with_and_without_the_optional_series(scene: Scene) -> None:
    network = built(FUSING)
    every = [scene.seen("whole", one) for one in STUDIES["whole"]]
    whole = yes(network(torch.cat(every, 1)))
    assert scene.score("whole", "fused") == pytest.approx(whole, abs=1e-5)
    # whatever the missing series held
    anything = torch.full((1, 1, 8, 16, 16), 1e6)
    there = [scene.seen("without-t1", one) for one in STUDIES["without-t1"]]
    present = torch.tensor([[False, True, True]])
    without = yes(network(torch.cat([anything, *there], 1), present))
    assert scene.score("without-t1", "fused") == pytest.approx(without, abs=1e-5)
    unmasked = yes(network(torch.cat([torch.zeros_like(anything), *there], 1)))
    assert abs(without - unmasked) > 1e-3


def test_the_report_explain_and_dry_run_say_what_was_missing(scene: Scene) -> None:
    told = scene.told("without-t1", "fused")
    uid = scene.studies["without-t1"].series_instance_uid
    assert told["missing"] == ["t1"]
    assert [one["series_instance_uid"] is None for one in told["channels"]] == [True, False, False]
    # on the first that is there
    assert told["series_instance_uid"] == told["channels"][1]["series_instance_uid"] == uid
    assert told["warnings"] == ["there is no series for the optional input t1"]
    explained = scene.program("explain", scene.job("without-t1", "fused")["job"])
    assert "input t1: 0 series chosen, it is optional" in explained
    assert "channel 1: input t1, missing" in explained
    assert f"channel 2: input t2, series {uid}" in explained
    assert scene.told("whole", "fused")["missing"] == []
    planned = scene.program.run(FUSED, options=("--dry-run",))
    assert planned.count("input t1: 0 series chosen, it is optional") == 2


def test_a_study_that_lacks_what_is_not_optional_is_rejected(scene: Scene) -> None:
    job = scene.job("other", "fused")
    assert (job["status"], job["reason"]) == ("rejected", "selection.no_series")


def test_the_check_refuses_a_model_that_cannot_do_without(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "fused.yaml"
    path.write_text(FUSED)
    assert "fused 1 is sound" in scene.program("analyses", "check", str(path))
    path.write_text(FUSED.replace("fusing, input: [t1, t2, flair]", "told, input: [t1, t2, flair]"))
    refused = scene.program("analyses", "check", str(path), status=1)
    assert "model told reads 1 series as channels, the step gives it 3" in refused
    assert "model told cannot do without one of its series, and t1, t2 may be missing" in refused


def test_a_model_reads_the_patient_where_the_header_tells(scene: Scene) -> None:
    network, flair = built(TELLING), Weighting.FLAIR
    # (77 - 60) / 20 years, a woman, (81.371 - 80) / 10 kg
    values = torch.tensor([[0.85, 1.0, 0.0, 0.0, 0.1371]])
    known = yes(network(scene.seen("whole", flair), values))
    assert scene.score("whole", "told") == pytest.approx(known, abs=1e-5)
    unknown = yes(network(scene.seen("without-t1", flair)))
    assert scene.score("without-t1", "told") == pytest.approx(unknown, abs=1e-5)
    assert abs(known - yes(network(scene.seen("whole", flair)))) > 1e-3
    assert scene.told("whole", "told")["options"]["table"] == dict.fromkeys(
        ("age", "sex", "weight"), True
    )
    assert scene.told("without-t1", "told")["options"]["table"] == dict.fromkeys(
        ("age", "sex", "weight"), False
    )


def test_what_the_header_tells_of_the_patient_is_kept_nowhere(scene: Scene) -> None:
    marks = [PATIENT["PatientAge"].encode(), PATIENT["PatientWeight"].encode(), b"0.1371"]
    files = [path for path in scene.home.parent.rglob("*") if path.is_file()]
    kept = {path.name: path.read_bytes() for path in files if scene.source not in path.parents}
    # DICOM objects say whose they are
    read = {name: content for name, content in kept.items() if content[128:132] != b"DICM"}
    assert {"job.json", "nightshift.db", "results.csv"} <= set(read)
    assert [
        (name, mark) for name, content in read.items() for mark in marks if mark in content
    ] == []
