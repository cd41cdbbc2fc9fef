from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker import sharing
from worker.queue.devices import physical_devices
from worker.queue.settings import Settings

HOLD = """
import sys, time
from pathlib import Path
from worker import sharing
from worker.queue.settings import Settings
with sharing.training_on(Settings(home=Path(sys.argv[1]), device="cpu")):
    print("held", flush=True)
    time.sleep(60)
"""


def on(home: Path, device: str = "cpu") -> Settings:
    return Settings(home=home, device=device)


def test_a_device_is_a_trainings_for_as_long_as_the_training_runs(tmp_path: Path) -> None:
    settings = on(tmp_path)
    assert not sharing.has_training(settings)
    with sharing.training_on(settings):
        assert sharing.has_training(settings)
        with sharing.training_on(settings):
            pass
        assert sharing.has_training(settings)
    assert not sharing.has_training(settings)


def test_a_killed_trainer_leaves_its_device(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert sharing.has_training(on(tmp_path))
        os.kill(holder.pid, signal.SIGKILL)
    assert not sharing.has_training(on(tmp_path))


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        ("", "auto", ["cpu"]),
        ("2,3", "cpu", ["cpu"]),
        ("2,3", "auto", ["gpu-2"]),
        ("2,3", "cuda", ["gpu-2"]),
        ("2,3", "cuda:1", ["gpu-3"]),
        ("2,3", "cuda:0,cuda:1", ["gpu-2", "gpu-3"]),
        ("2", "cuda:1", []),
    ],
)
def test_devices_are_called_alike_by_all_processes_of_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, device: str, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert physical_devices(on(tmp_path, device)) == expected


def test_a_training_on_another_device_is_nobodys_concern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with sharing.training_on(on(tmp_path, "cuda:1")):
        assert not sharing.has_training(on(tmp_path, "cuda:0"))
        assert sharing.has_training(on(tmp_path, "cuda:0,cuda:1"))
