"""Corrected cases become a manifest that a training takes."""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from safetensors.torch import save_file

from pipeline import phantoms
from pipeline.models import networks
from pipeline.training import manifest, recipe
from pipeline.training.gate_order import GateOrder
from records import corrected, corrections, models, schedules, trainings
from records.base import Stage, TrainingStatus
from records.corrections import NewCorrection, UpTo, Verdict
from records.database import connect, reading, session_factory, unit_of_work
from records.schedules import NewSchedule
from tests import quick_training
from tests.records.answered import Answered, scores
from worker import training
from worker.corrected import write_manifest
from worker.exporting import export_corrections
from worker.queue.settings import Settings
from worker.services import make_services
from worker.store import Store
from worker.training import cases
from worker.training.order import Order


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Answered:
    """Answered images of the phantom of a radiograph, whose files lie in ``tmp_path / "in"``."""
    source = tmp_path / "in"
    for number in (1, 2):
        parameters = phantoms.ImageParameters(kind=phantoms.ImageKind.CR, seed=number)
        image = phantoms.image(parameters)
        phantoms.write_image(image, tmp_path / str(number), seed=number)
        (written,) = (path for path in (tmp_path / str(number)).rglob("*") if path.is_file())
        source.mkdir(exist_ok=True)
        written.rename(source / f"{number}.dcm")
    return Answered(session_factory(connect(sqlite_url)), source=str(source))


def say(world: Answered, job: UUID, verdict: Verdict, label: str | None = None) -> None:
    new = NewCorrection(job_id=job, step="look", verdict=verdict, label=label)
    with unit_of_work(world.sessions) as session:
        corrections.add(session, new, by="grace")


def written(world: Answered, base: Path | None, folder: Path) -> Path:
    store = Store(folder / "store", reserve_bytes=0)
    with reading(world.sessions) as session:
        cases = corrected.cases(session, "light", model="quick")
        return write_manifest(cases, base, folder / "cases", store)


def test_corrected_cases_join_the_manifest_and_can_be_frozen(
    world: Answered, tmp_path: Path
) -> None:
    (tmp_path / "base").mkdir()
    base = quick_training.write_images(tmp_path / "base")
    say(world, world.job(1, scores(0.9)), Verdict.ACCEPT)
    say(world, world.job(2, scores(0.9)), Verdict.REPLACE, "bright")
    snapshot = manifest.freeze(
        written(world, base, tmp_path), recipe.check(quick_training.CLASSIFICATION)
    )
    first, second = snapshot.cases[-2:]
    assert (first.label, second.label) == ("dark", "bright")
    assert first.patient_id != second.patient_id
    assert len(snapshot.cases) == 18


def test_boxes_and_masks_are_written_as_files(world: Answered, tmp_path: Path) -> None:
    box = {"label": "bright", "centre": [1.0, 2.0, 3.0], "size": [4.0, 5.0, 6.0]}
    case = {
        "source": str(tmp_path / "in"), "paths": ("1.dcm",), "study_instance_uid": "1",
        "series_instance_uid": "2",
    }  # fmt: skip
    store = Store(tmp_path / "store", reserve_bytes=0)
    kept = store.put(b"a mask that was written")
    form = corrections.MaskForm
    cases = [
        corrected.CorrectedCase(number=1, boxes=[box], **case),  # type: ignore[arg-type]
        corrected.CorrectedCase(number=2, mask=kept, mask_form=form.DICOM_SEG, **case),  # type: ignore[arg-type]
        corrected.CorrectedCase(number=3, mask=b"drawn", mask_form=form.NIFTI, **case),  # type: ignore[arg-type]
    ]
    path = write_manifest(cases, None, tmp_path / "cases", store)
    labels = [path.parent / row["label"] for row in csv.DictReader(path.read_text().splitlines())]
    assert json.loads(labels[0].read_bytes()) == {"boxes": [box]}
    assert [label.read_bytes() for label in labels[1:]] == [b"a mask that was written", b"drawn"]
    assert [label.name for label in labels[1:]] == ["2.dcm", "3.nii.gz"]


@pytest.fixture
def of_the_verb(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the verb at the home and the database of the test."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", sqlite_url)


@pytest.mark.usefixtures("of_the_verb")
def test_the_verb_says_how_many_cases_it_wrote_and_where(
    world: Answered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = argparse.Namespace(analysis="light", model="quick", out=tmp_path / "out")
    assert export_corrections(words) == 3
    say(world, world.job(1, scores(0.9)), Verdict.ACCEPT)
    assert export_corrections(words) == 0
    assert capsys.readouterr().out == f"1 cases: {tmp_path / 'out' / 'manifest.csv'}\n"
    listed = manifest.look(
        tmp_path / "out" / "manifest.csv", recipe.check(quick_training.CLASSIFICATION)
    )
    assert [case.label for case in listed.cases] == ["dark"]


@pytest.mark.usefixtures("of_the_verb")
def test_an_export_that_fails_leaves_nothing_behind(
    world: Answered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        say(world, world.job(number, scores(0.9)), Verdict.ACCEPT)
    (tmp_path / "in" / "2.dcm").unlink()
    out = tmp_path / "exports" / "out"
    assert export_corrections(argparse.Namespace(analysis="light", model="quick", out=out)) == 1
    assert list(out.parent.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_a_training_is_frozen_with_the_corrections_that_there_were_when_it_began(
    world: Answered, tmp_path: Path, sqlite_url: str
) -> None:
    (tmp_path / "base").mkdir()
    base = quick_training.write_images(tmp_path / "base")
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(sqlite_url))
    services = make_services(settings)
    job = world.job(1, scores(0.9))
    say(world, job, Verdict.ACCEPT)
    order = Order(
        training_id=job,
        recipe=quick_training.CLASSIFICATION,
        manifest=str(base),
        weights=base.parent,
        corrections=UpTo(analysis="light", number=1),
        version="1.0",
        folder=tmp_path / "training",
        bundle=tmp_path / "bundle",
        gate=GateOrder(folder=str(tmp_path / "gate"), active=None),
    )
    say(world, job, Verdict.REPLACE, "bright")
    path = Path(cases.manifest_of(order, services))
    *_, joined = csv.DictReader(path.read_text().splitlines())
    assert joined["label"] == "dark"
    base.unlink()  # a later attempt trains on what the first one froze
    assert cases.manifest_of(order, services) == str(path)
    assert cases.manifest_of(replace(order, corrections=None), services) == str(base)


@pytest.mark.system
def test_new_cases_of_a_schedule_end_in_a_candidate_that_has_learnt_from_them(
    world: Answered, tmp_path: Path, sqlite_url: str
) -> None:
    (tmp_path / "base").mkdir()
    base = quick_training.write_images(tmp_path / "base")
    # weights lie beside the manifest that was asked for, not beside the one that was joined
    network = networks.build(**quick_training.CLASSIFICATION["network"])
    save_file(network.state_dict(), base.parent / "begin.safetensors")
    transfer = {"transfer": {"source": "begin.safetensors"}}
    settings = Settings(
        home=tmp_path / "home",
        database_url=SecretStr(sqlite_url),
        lease=timedelta(minutes=10),
        device="cpu",
        threads=1,
    )
    services = make_services(settings)
    new = NewSchedule(
        name="learning",
        recipe=quick_training.CLASSIFICATION | {"epochs": 1, "version": 2} | transfer,
        manifest=str(base),
        new_cases=2,
        analysis="light",
    )
    with unit_of_work(services.sessions) as session:
        schedules.add(session, new, by="ada")
    for number in (1, 2):
        say(world, world.job(number, scores(0.9)), Verdict.REPLACE, "bright")
    with unit_of_work(services.sessions) as session:
        (made,) = schedules.due(session)
    training.run(made, services)
    with reading(services.sessions) as session:
        ended = trainings.get(session, made)
        assert (ended.status, ended.detail) == (TrainingStatus.SUCCEEDED, None)
        assert sum(ended.progress["cases"].values()) == 18
        assert ended.progress["transfer"]["fresh"] == []
        version = models.find(session, "quick", "2.0")
        assert version is not None
        assert version.stage is Stage.CANDIDATE
