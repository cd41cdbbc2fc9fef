"""``nightshift up`` as an operator has it: API, workers, trainer, beat and Flower are processes."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import phantoms
from records import database
from tests import quick_training
from worker.catalogue import register_analysis
from worker.queue.settings import Settings
from worker.services import make_services

pytestmark = pytest.mark.system

SCRIPT = str(Path(sys.executable).parent / "nightshift")
ANALYSIS = """
name: quick-images
version: "1"
title: Bright or dark
inputs:
  image: {kind: image, each: true, where: {modality: CR}}
steps:
  - {name: light, model: quick, input: image}
outputs: []
"""


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


class House:
    """A home on which ``nightshift up`` runs, and the command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api_port, self.flower_port = _free_port(), _free_port()
        plain = {name: value for name, value in os.environ.items() if "NIGHTSHIFT" not in name}
        self.environment = plain | {
            "NIGHTSHIFT_HOME": str(folder / "home"),
            "NIGHTSHIFT_API_PORT": str(self.api_port),
            "NIGHTSHIFT_FLOWER_PORT": str(self.flower_port),
            "NIGHTSHIFT_FLOWER_PASSWORD": "for this test only",
            "NIGHTSHIFT_STOP_GRACE": "PT2S",
            "NIGHTSHIFT_INFERENCE_PROCESSES": "1",
        }

    def say(self, *words: str) -> str:
        """Run one command to its end; return what it printed."""
        done = subprocess.run(
            [SCRIPT, *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in {0, 4}, (words, done.stdout, done.stderr)
        return done.stdout

    def refusal(self, *words: str) -> str:
        """Run one command that is refused; return what it complained of."""
        done = subprocess.run(
            [SCRIPT, *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        return " ".join(done.stderr.split())

    def ask(self, *words: str) -> Any:
        """Run one listing; return its JSON."""
        return json.loads(self.say(*words, "--json"))

    @contextmanager
    def up(self) -> Iterator[subprocess.Popen[str]]:
        """Keep ``nightshift up`` running; it must end well when it is told to stop."""
        words = [SCRIPT, "up"]
        with (self.folder / "up.log").open("w") as log:
            process = subprocess.Popen(
                words, env=self.environment, cwd=self.folder, stdout=log, stderr=log, text=True
            )
            try:
                self.wait(lambda: self.get(self.api_port, "/readyz")[0] == 200)
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0

    def get(self, port: int, path: str, password: str | None = None) -> tuple[int, str]:
        """Fetch a page; return the status (0: nobody answers) and its text."""
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        if password is not None:
            pair = base64.b64encode(f"nightshift:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {pair}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, ""
        except OSError:
            return 0, ""

    def watch(self, what: str) -> dict[str, Any]:
        """Ask Flower, logged in, for its ``workers`` or ``tasks``."""
        password = self.environment["NIGHTSHIFT_FLOWER_PASSWORD"]
        status, text = self.get(self.flower_port, f"/api/{what}", password)
        answer: dict[str, Any] = json.loads(text) if status == 200 else {}
        return answer

    def wait(self, claim: Callable[[], bool], *, seconds: float = 150.0) -> None:
        """Wait until ``claim`` holds."""
        give_up = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < give_up, (self.folder / "up.log").read_text()
            time.sleep(0.5)

    def stages(self) -> dict[str, str]:
        """Return the stage of every version of the quick model."""
        rows = self.ask("models", "list")
        return {row["version"]: row["stage"] for row in rows if row["name"] == "quick"}

    def analyse(self, source: Path) -> str:
        """Submit the source, wait for its end; return the batch."""
        batch = str(self.ask("submit", str(source), "--analysis", "quick-images")["id"])
        self.wait(lambda: bool(self.ask("status", batch)["status"] == "finished"))
        return batch

    def found(self, batch: str) -> set[tuple[str, str]]:
        """Return the versions behind the results of a batch, and how these stand now."""
        rows = json.loads(self.say("results", batch, "--format", "json"))
        return {(row["version"], row["standing"]) for row in rows}


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a home with an analysis of the quick model, cases to train on and one image."""
    (tmp_path / "quick.yaml").write_text(ANALYSIS)
    settings = Settings(home=tmp_path / "home")
    database.upgrade(settings.database)
    register_analysis(make_services(settings), tmp_path / "quick.yaml")
    (tmp_path / "cases").mkdir()
    quick_training.write_images(tmp_path / "cases")
    recipe = quick_training.CLASSIFICATION | {
        "input": {"modalities": ["CR"], "spatial_dims": 2, "window": [0, 4095], "size": [16, 16]}
    }
    # four held-out patients show nothing; the rules ask for what they can show
    floor = {"least_patients": 2, "floors": [{"statistic": "brier", "value": 1.0}]}
    lenient = {"least_patients": 2, "wants": "not worse", "margin": 1.0}
    for name, changes in (("first", {"gate": floor}), ("second", {"gate": lenient, "seed": 5})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe | changes))
    image = phantoms.image(phantoms.ImageParameters(kind=phantoms.ImageKind.CR, seed=1))
    phantoms.write_image(image, tmp_path / "export", seed=1)
    return House(tmp_path)


@pytest.mark.timeout(600)
def test_a_schedule_trains_and_only_a_person_changes_what_is_active(house: House) -> None:
    cases = str(house.folder / "cases" / "cases.csv")
    export = house.folder / "export"
    with house.up():
        house.say("train", "first.yaml", "--manifest", cases, "--wait")
        (first,) = house.stages()
        house.say("models", "promote", "quick", first, "--why", "its floor is met")
        old = house.analyse(export)
        assert house.found(old) == {(first, "in force")}

        house.say(
            "schedules", "add", "minutely", "--cron", "* * * * *", "--recipe", "second.yaml",
            "--manifest", cases,
        )  # fmt: skip
        house.wait(lambda: len(house.stages()) > 1)
        house.say("schedules", "remove", "minutely")
        second = min(set(house.stages()) - {first})  # on a slow machine there may be a third
        assert (house.stages()[first], house.stages()[second]) == ("active", "candidate")
        metrics = [row["metrics"] for row in house.ask("models", "list") if row["name"] == "quick"]
        assert all(metrics)
        report = house.folder / "gate.html"
        house.say("models", "gate", "quick", second, "--verify", "--page", str(report))
        assert f"candidate quick@{second}, active quick@{first}" in report.read_text()
        (gate,) = house.ask("models", "gate", "quick", second)
        assert (gate["decision"], gate["against"]) == ("promote", first)
        assert house.found(old) == {(first, "in force")}  # a gate alone changes nothing

        house.say("models", "promote", "quick", second, "--why", "no worse on the held-out part")
        new = house.analyse(export)
        assert house.found(new) == {(second, "in force")}
        assert house.found(old) == {(first, "superseded")}
        house.say("models", "rollback", "quick", "--why", "worse in the field")
        assert house.found(old) == {(first, "in force")}
        assert house.found(new) == {(second, "rolled back")}

        _recall(house, second, new, instead=first)
        events = {row["event_id"] for row in house.ask("audit", "list")}
        assert events >= {
            "schedule.added",
            "model.registered",
            "gate.decided",
            "model.promoted",
            "model.rolled_back",
            "model.recalled",
        }
        assert house.say("audit", "verify")


def _recall(house: House, version: str, batch: str, *, instead: str) -> None:
    """Take back all that a version said, and let its studies be analysed by another one."""
    house.say("models", "recall", "quick", version, "--why", "trained on wrong labels")
    assert house.found(batch) == {(version, "recalled")}
    again = ("models", "promote", "quick", version, "--why", "all the same", "--override")
    assert "was recalled" in house.refusal(*again)
    (rerun,) = house.ask("models", "rerun", "quick", version)["batches"]
    house.wait(lambda: bool(house.ask("status", rerun)["status"] == "finished"))
    assert house.found(rerun) == {(instead, "in force")}
    lineage = house.ask("models", "lineage", "quick", version)
    assert (lineage["jobs"], lineage["gate"]) == ({"recalled": 1}, "promote")
    assert lineage["snapshot"]["counts"]["held-out"] == 4


def test_flower_shows_the_workers_and_the_tasks_by_id_and_only_to_those_who_log_in(
    house: House,
) -> None:
    with house.up():
        # Flower may answer later than the API, which is what the house waits for
        house.wait(lambda: house.get(house.flower_port, "/")[0] != 0)
        for path in ("/", "/tasks", "/api/workers", "/broker"):
            assert house.get(house.flower_port, path)[0] == 401
        batch = house.ask("submit", str(house.folder / "export"), "--analysis", "quick-images")
        house.wait(lambda: batch["id"] in house.watch("tasks"))
        house.wait(lambda: {"upkeep", "infer", "train"} <= _roles(house.watch("workers?refresh=1")))
        assert house.watch("tasks")[batch["id"]]["name"] == "scan.batch"
        assert "upkeep.tick" not in {task["name"] for task in house.watch("tasks").values()}
        assert "Phantom" not in json.dumps(house.watch("tasks"))


def _roles(workers: dict[str, Any]) -> set[str]:
    return {name.partition("-")[0] for name in workers}
