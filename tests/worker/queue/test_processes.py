from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from worker.queue.processes import (
    WIND_UP_SECONDS,
    RoleCannotStart,
    Supervisor,
    environment_of,
)
from worker.queue.settings import Settings

READY = "import os, time; os.write(int(os.environ['NIGHTSHIFT_READY_FD']), b'1'); time.sleep(600)"


def eventually(claim: Callable[[], bool], seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < give_up, "it did not come true in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_a_killed_child_is_started_again(settings: Settings) -> None:
    with Supervisor(settings) as supervisor:
        supervisor.start("sleeper", command=(sys.executable, "-c", READY))
        supervisor.wait_ready()
        before = supervisor.processes()["sleeper-0"]
        os.kill(before, signal.SIGKILL)

        def is_back() -> bool:
            supervisor.poll()
            return supervisor.processes().get("sleeper-0", before) != before

        eventually(is_back)
        assert supervisor.restarts() == 1
        after = supervisor.processes()["sleeper-0"]
    assert not is_alive(after)


def test_a_role_that_never_becomes_ready_is_reported_with_its_last_words(
    settings: Settings,
) -> None:
    words = "import sys; sys.exit('the moon is missing')"
    with Supervisor(settings) as supervisor:
        supervisor.start("broken", command=(sys.executable, "-c", words))
        with pytest.raises(RoleCannotStart, match="the moon is missing"):
            supervisor.wait_ready(seconds=60)


def test_stopping_takes_the_children_of_children_along(settings: Settings, tmp_path: Path) -> None:
    noted = tmp_path / "grandchild"
    words = (
        "import subprocess, sys, pathlib, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(noted)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    with Supervisor(settings) as supervisor:
        supervisor.start("parent", command=(sys.executable, "-c", words))
        eventually(lambda: noted.exists() and noted.read_text().isdigit())
    grandchild = int(noted.read_text())
    eventually(lambda: not is_alive(grandchild))


def test_a_stop_waits_for_the_grace_of_running_jobs_and_until_they_have_wound_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def end(supervisor: Supervisor, child: Any, give_up: float) -> None:
        waits.append(give_up - time.monotonic())
        supervisor._forget(child)

    monkeypatch.setattr(Supervisor, "_await_end", end)
    with Supervisor(Settings(home=tmp_path, stop_grace=timedelta(seconds=60))) as supervisor:
        supervisor.start("sleeper", command=(sys.executable, "-c", READY))
    assert waits[0] > 60 + WIND_UP_SECONDS


@pytest.mark.skipif(sys.platform != "linux", reason="the tie to the parent is Linux's")
def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    noted = tmp_path / "child"
    words = f"""
import pathlib, sys, time
from worker.queue.processes import Supervisor
from worker.queue.settings import Settings
supervisor = Supervisor(Settings(home=pathlib.Path({str(tmp_path)!r})))
supervisor.start("sleeper", command=(sys.executable, "-c", {READY!r}))
supervisor.wait_ready()
pathlib.Path({str(noted)!r}).write_text(str(supervisor.processes()["sleeper-0"]))
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", words])
    eventually(lambda: noted.exists() and noted.read_text().isdigit())
    parent.kill()
    parent.wait()
    eventually(lambda: not is_alive(int(noted.read_text())))


def test_settings_travel_through_the_environment_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        home=tmp_path,
        lane="run-1",
        lease=timedelta(seconds=2.5),
        broker_url=SecretStr("redis+socket:///s.sock"),
        source_roots=(tmp_path / "in", tmp_path / "other"),
        api_keys_required=False,
    )
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
