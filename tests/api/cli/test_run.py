"""``nightshift run`` as a person gives it: real processes, small phantoms, real files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from api.cli import results, run
from records import analyses, database
from records.tables import Job
from tests.api.cli.conftest import Home, Shell
from tests.machine import LUNGS, living_children_of_init, write_studies

pytestmark = pytest.mark.system

SCRIPT = str(Path(sys.executable).parent / "nightshift")


class Desk:
    """A folder with a home and a source in it, and the command line as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.source = folder / "source"
        plain = {name: value for name, value in os.environ.items() if "NIGHTSHIFT" not in name}
        self.environment = plain | {
            "NIGHTSHIFT_HOME": str(self.home),
            "NIGHTSHIFT_INFERENCE_PROCESSES": "1",
            "NIGHTSHIFT_LEASE": "PT5S",
            "NIGHTSHIFT_STOP_GRACE": "PT2S",
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a run; its two streams are pipes."""
        return subprocess.Popen(
            [SCRIPT, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.folder,
        )

    def run(self, out: str = "out", *more: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        with self.start(*self.words(out), *more) as process:
            said, complained = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, said, complained)

    def stop_midway(self, sign: signal.Signals, *, done: int = 0) -> str:
        """Start a run, stop it once ``done`` of its jobs are done, return what it said of it."""
        with self.start(*self.words()) as process:
            give_up = time.monotonic() + 90
            while self.ended() is None or (self.ended() or 0) < done:
                assert time.monotonic() < give_up
                time.sleep(0.02)
            process.send_signal(sign)
            _, complained = process.communicate(timeout=60)
            assert process.returncode == 1
        return complained

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        """The records of the home, read while a run writes them."""
        return database.session_factory(database.connect(f"sqlite:///{self.home}/nightshift.db"))

    def ended(self) -> int | None:
        """Return how many jobs have ended; None while none is planned."""
        sessions = database.session_factory(
            database.connect(f"sqlite:///{self.home}/nightshift.db")
        )
        with database.reading(sessions) as session:
            ends = session.scalars(select(Job.finished_at)).all()
        return sum(end is not None for end in ends) if ends else None

    def words(self, out: str = "out") -> list[str]:
        """Return the words of a run over the source."""
        return ["run", str(self.source), "--out", out, "--analysis", "test-lungs"]

    def rows(self, out: str = "out") -> list[dict[str, str]]:
        """Return the rows of results.csv without the ids that every batch has for itself."""
        with (self.folder / out / "results.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [{k: v for k, v in row.items() if k not in {"batch", "job"}} for row in rows]


@pytest.fixture
def desk(tmp_path: Path, sqlite_template: Path) -> Iterator[Desk]:
    """A desk on which nothing is left running at the end."""
    # where the tests run in the background of a shell, Ctrl-C is ignored, and children inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Desk(tmp_path)
    made.home.mkdir(mode=0o700)
    shutil.copyfile(sqlite_template, made.home / "nightshift.db")
    engine = database.connect(f"sqlite:///{made.home / 'nightshift.db'}")
    document = yaml.safe_load(LUNGS)
    with database.unit_of_work(database.session_factory(engine)) as session:
        new = analyses.NewAnalysis(
            name=document["name"], version=document["version"], digest="0" * 64, document=document
        )
        analyses.register(session, new, by="tester")
    engine.dispose()
    yield made
    signal.signal(signal.SIGINT, before)
    assert not living_children_of_init(str(tmp_path))
    assert not list((made.home / "runs").glob("*"))


def test_a_run_leaves_what_the_contract_says(desk: Desk) -> None:
    write_studies(desk.source, 2)
    (desk.source / "note.txt").write_text("not DICOM")
    done = desk.run()
    assert done.returncode == 0, done.stderr
    out = desk.folder / "out"
    for name in ("results.json", "skipped.csv", "report.html"):
        assert (out / name).is_file()
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "finished"
    assert summary["jobs"]["succeeded"] == 2
    assert summary["results"] == len(desk.rows()) == 2
    assert len(list(out.glob("studies/*/*/job.json"))) == 2
    assert "note.txt" in (out / "skipped.csv").read_text(encoding="utf-8")
    assert "2 jobs: 2 succeeded" in done.stdout
    assert str(out / "report.html") in done.stdout


def test_a_study_without_a_result_makes_the_exit_code_4(desk: Desk) -> None:
    write_studies(desk.source, 2)
    next((desk.source / "001").iterdir()).unlink()  # or an end slice: then one is too few
    done = desk.run("out", "--json")
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["jobs"] == {
        "succeeded": 1, "rejected": 1, "failed": 0, "canceled": 0,
    }  # fmt: skip


def test_a_source_without_dicom_is_nothing_to_analyse(desk: Desk) -> None:
    desk.source.mkdir()
    (desk.source / "note.txt").write_text("not DICOM")
    done = desk.run()
    assert done.returncode == 3, done.stderr
    assert "source.no_dicom" in done.stdout
    assert (desk.folder / "out" / "skipped.csv").is_file()


def test_an_analysis_that_is_not_there_is_wrong_usage(desk: Desk) -> None:
    write_studies(desk.source, 1)
    done = desk.run("out", "--analysis", "palmistry")
    assert done.returncode == 2
    assert "There is no analysis palmistry." in done.stderr
    assert "test-lungs" in done.stderr


def test_a_run_that_was_stopped_goes_on_to_the_same_results(desk: Desk) -> None:
    write_studies(desk.source, 24)
    complained = desk.stop_midway(signal.SIGINT, done=2)
    assert "Run the same command again to go on." in complained
    assert not (desk.folder / "out" / "summary.json").exists()

    again = desk.run()
    assert again.returncode == 0, again.stderr
    assert "Taking up batch" in again.stderr
    whole = desk.run("whole")
    assert whole.returncode == 0, whole.stderr
    assert "Taking up batch" not in whole.stderr
    assert desk.rows() == desk.rows("whole")
    assert len(desk.rows()) == 24


def test_a_service_manager_stops_a_run_as_ctrl_c_does(desk: Desk) -> None:
    write_studies(desk.source, 1)
    assert "Run the same command again to go on." in desk.stop_midway(signal.SIGTERM)


def test_two_runs_share_a_home_but_not_a_folder(desk: Desk) -> None:
    write_studies(desk.source, 2)
    with desk.start(*desk.words("one")) as first:
        assert first.stderr is not None
        next(iter(first.stderr))  # the first line of progress: it holds its folder
        second = desk.run("two")
        first.communicate(timeout=240)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    # Both delivered the same studies, so whoever ended first may read that it was superseded.
    one, two = (
        [row | {"standing": ""} for row in rows] for rows in (desk.rows("one"), desk.rows("two"))
    )
    assert one == two


def test_a_folder_that_another_run_writes_into_is_refused(desk: Desk) -> None:
    write_studies(desk.source, 1)
    with desk.start(*desk.words()) as first:
        assert first.stderr is not None
        next(iter(first.stderr))
        second = desk.run()
        first.communicate(timeout=240)
    assert second.returncode == 1
    assert "Another `nightshift run` is writing to out." in second.stderr


def test_a_disk_without_room_is_told_before_anything_starts(desk: Desk) -> None:
    write_studies(desk.source, 1)
    desk.environment["NIGHTSHIFT_DISK_RESERVE_BYTES"] = str(2**62)
    with desk.start(*desk.words()) as process:
        try:
            _, complained = process.communicate(timeout=60)
        finally:
            process.terminate()
    assert process.returncode == 1
    assert "The disk of the store has" in complained
    assert "Free some space" in complained
    assert desk.ended() is None


def test_a_database_that_goes_away_before_the_export_is_told_with_what_to_do(
    shell: Shell, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> NoReturn:
        raise database.DatabaseUnavailable(database.Trouble.REFUSED)

    monkeypatch.setattr(run, "_carry", lambda *_: home.batch)
    monkeypatch.setattr(results, "export", gone)
    source = tmp_path / "one.dcm"
    source.touch()
    said = shell("run", str(source), "--out", str(tmp_path / "out"))
    assert said.code == 1
    assert f"nightshift results {str(home.batch)[:8]} --out" in said.err


def test_a_dry_run_tells_every_clause_and_writes_nothing(desk: Desk) -> None:
    write_studies(desk.source, 1)
    with desk.start(*desk.words(), "--dry-run") as process:
        said, complained = process.communicate(timeout=120)
    assert process.returncode == 0, complained
    assert "test-lungs 1: yes" in said
    assert "holds  modality: asked CT, is CT" in said
    assert "1 study, 1 job would run. Nothing was written." in said
    assert not (desk.folder / "out").exists()
