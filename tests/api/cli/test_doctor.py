from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from api.cli.checks import inference, installation, machine, services
from api.cli.checks.finding import Finding
from api.cli.epochs import headline, progress_words
from worker.queue.settings import Settings


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_secrets_are_never_shown(home_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", "postgresql+psycopg://me:hidden@db.local/night")
    monkeypatch.setenv("NIGHTSHIFT_FLOWER_PASSWORD", "hidden")
    found = by_name(list(installation.in_force(Settings())))
    assert found["database_url"].found == "postgresql+psycopg://***@db.local/night"
    assert not [one for one in found.values() if "hidden" in one.found]


def test_a_misspelt_setting_is_a_warning(home_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_BROKERURL", "redis://")
    found = by_name(list(installation.in_force(Settings())))
    assert found["NIGHTSHIFT_BROKERURL"].verdict == "warning"


def test_a_home_that_others_may_read_is_a_warning(home_path: Path) -> None:
    home_path.chmod(0o755)
    found = by_name(list(machine.folder("Machine", "home", home_path, 1)))
    assert found["home privacy"].verdict == "warning"
    assert "chmod 700" in found["home privacy"].mend


def test_a_disk_below_the_reserve_is_a_problem(home_path: Path) -> None:
    found = by_name(list(machine.folder("Machine", "home", home_path, 2**62)))
    assert found["home folder"].verdict == "problem"


def test_a_disk_that_does_not_answer_is_not_taken_for_one_without_room(
    home_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(path: Path) -> NoReturn:
        raise OSError(116, "Stale file handle", str(path))

    assert machine.shortage(Settings(disk_reserve_bytes=2**62))
    monkeypatch.setattr(machine.shutil, "disk_usage", hang)
    assert not machine.shortage(Settings(disk_reserve_bytes=2**62))


def test_a_fresh_home_needs_no_database_yet(home_path: Path) -> None:
    found = by_name(list(services.services(Settings())))
    assert found["database"].verdict == "ok"
    assert not (home_path / "nightshift.db").exists()


def test_a_broker_that_does_not_answer_is_a_problem(
    home_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", f"redis+socket://{home_path}/nobody.sock")
    found = by_name(list(services.services(Settings())))
    assert found["broker"].verdict == "problem"
    assert found["broker"].mend


def test_a_broker_that_answers_tells_its_version(
    home_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", redis_server)
    found = by_name(list(services.services(Settings())))
    assert found["broker"].verdict == "ok"


def test_every_encoding_of_still_images_has_a_line() -> None:
    names = by_name(list(inference.decoders()))
    assert names["Explicit VR Little Endian"].found == "native"
    assert names["RLE Lossless"].verdict == "ok"
    assert len(names) >= 16


def test_shipped_models_state_their_version() -> None:
    found = by_name(list(inference.shipped_models()))
    assert found["threshold-lung"].verdict == "ok"
    assert found["threshold-lung"].found.startswith("version ")


def test_an_epoch_is_told_in_one_line() -> None:
    now = {"phase": "training", "epoch": 3, "epochs": 25, "loss": 0.48531, "score": 0.5}
    assert progress_words(now) == "epoch 3 of 25, loss 0.4853, score 0.5"
    assert progress_words({"phase": "reading"}) == "reading"


def test_metrics_are_told_by_their_numbers() -> None:
    metrics = {
        "cases": 9,
        "accuracy": {"value": 0.81, "low": 0.7, "high": 0.9},
        "confusion": [[1, 2], [3, 4]],
    }
    assert headline(metrics) == "cases 9, accuracy 0.81 (0.7 to 0.9)"


def test_of_what_is_measured_label_by_label_a_line_tells_the_main_numbers() -> None:
    measured = {
        "dice": {"value": 0.81, "low": 0.7, "high": 0.9, "patients": 8},
        "hd95_mm": {"value": 3.5, "low": 2.0, "high": 6.0, "patients": 8},
    }
    metrics = {"cases": 9, "labels": {"lung": measured}, "surface_tolerance_mm": 2.0}
    assert headline(metrics) == "cases 9, lung dice 0.81 (0.7 to 0.9)"


def test_the_environment_of_the_tests_reaches_no_settings(home_path: Path) -> None:
    assert Settings().home == home_path
    assert not [
        name for name in os.environ if name.startswith("NIGHTSHIFT_") and "HOME" not in name
    ]


def test_the_doctor_shows_how_workers_keep_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.36"))
    found = inference.allocator("Devices")
    assert found.verdict == "ok"
    for setting in ("MALLOC_MMAP_THRESHOLD_=", "MALLOC_TRIM_THRESHOLD_=", "glibc.malloc.hugetlb=1"):
        assert setting in found.found
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert inference.allocator("Devices").verdict == "warning"
