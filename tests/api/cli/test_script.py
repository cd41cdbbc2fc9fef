"""The console script as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).parent / "nightshift"
HEAVY = ("torch", "monai", "numpy", "pydicom", "pipeline", "sqlalchemy", "pydantic", "celery")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if "NIGHTSHIFT" not in name}
    return plain | {"NIGHTSHIFT_HOME": str(tmp_path / "home")}


def script(
    environment: dict[str, str], folder: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=folder,
        timeout=120,
    )


def test_help_loads_nothing_that_is_heavy(environment: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['nightshift', '--help']\n"
        "from api.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Analyse SOURCE on this machine" in done.stdout


def test_a_listing_loads_no_pipeline(environment: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['nightshift', 'status', '--json']\n"
        "from api.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = [n for n in ('torch', 'monai', 'numpy', 'pydicom', 'pipeline', 'celery')"
        " if n in sys.modules]\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "words", [["fly"], ["run"], ["run", "src"], ["status", "--jsn"], ["submit"]]
)
def test_wrong_usage_is_2(environment: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_text("a")
    assert script(environment, tmp_path, *words).returncode == 2


def test_a_source_that_is_not_there_or_empty_is_nothing_to_analyse(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("missing", "empty"):
        done = script(environment, tmp_path, "run", source, "--out", "out")
        assert done.returncode == 3
        assert done.stderr.startswith("nightshift: There is nothing to analyse: ")
        assert "Traceback" not in done.stderr


def test_an_out_inside_the_source_is_wrong_usage(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_text("a")
    done = script(environment, tmp_path, "run", "src", "--out", "src/out")
    assert done.returncode == 2
    assert "inside the source" in done.stderr


def test_an_out_that_cannot_be_made_is_said_in_a_sentence(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_text("a")
    (tmp_path / "file").write_text("a")
    done = script(environment, tmp_path, "run", "src", "--out", "file/out")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_cannot_be_read_is_wrong_usage(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = script(environment | {"NIGHTSHIFT_WINDOW": "many"}, tmp_path, "status")
    assert done.returncode == 2
    assert "NIGHTSHIFT_WINDOW" in done.stderr


def test_a_home_that_is_a_file_is_said_in_a_sentence(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a")
    done = script(environment, tmp_path, "status")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_one_is_said_in_a_sentence(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "nightshift.db").write_bytes(b"this is no database" * 99)
    done = script(environment, tmp_path, "status")
    assert done.returncode == 1
    assert "The database file is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configured_database_behind_in_migrations_is_not_touched(
    environment: dict[str, str], tmp_path: Path
) -> None:
    there = environment | {"NIGHTSHIFT_DATABASE_URL": f"sqlite:///{tmp_path / 'own.db'}"}
    done = script(there, tmp_path, "status")
    assert done.returncode == 1
    assert "nightshift db upgrade" in done.stderr
    assert script(there, tmp_path, "db", "check").returncode == 1
    assert script(there, tmp_path, "db", "upgrade").returncode == 0
    assert script(there, tmp_path, "db", "check").returncode == 0
    assert script(there, tmp_path, "status").returncode == 0


def test_a_port_in_use_is_said_in_a_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = script(environment | {"NIGHTSHIFT_API_PORT": port}, tmp_path, "up")
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert "NIGHTSHIFT_API_PORT" in done.stderr


def test_a_role_without_a_broker_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    for role in ("worker", "trainer", "beat", "flower"):
        done = script(environment, tmp_path, role)
        assert done.returncode == 1
        assert "There is no broker" in done.stderr


@pytest.mark.system
@pytest.mark.parametrize("role", ["worker", "trainer", "beat", "flower", "api"])
def test_a_role_runs_until_it_is_told_to_stop(
    environment: dict[str, str], tmp_path: Path, redis_server: str, role: str
) -> None:
    there = environment | {
        "NIGHTSHIFT_BROKER_URL": redis_server,
        "NIGHTSHIFT_INFERENCE_PROCESSES": "1",
        "NIGHTSHIFT_FLOWER_PORT": str(free_port()),
        "NIGHTSHIFT_API_PORT": str(free_port()),
    }
    reading, writing = os.pipe()
    there["NIGHTSHIFT_READY_FD"] = str(writing)  # as a supervisor asks its children
    with subprocess.Popen(
        [str(SCRIPT), role],
        stderr=subprocess.PIPE,
        text=True,
        env=there,
        cwd=tmp_path,
        pass_fds=(writing,),
    ) as process:
        os.close(writing)
        if role == "worker":  # it is a supervisor itself, and says so on stderr
            assert process.stderr is not None
            assert "Working: desk-0, infer-0" in process.stderr.readline()
        else:
            assert os.read(reading, 1) == b"1"
        os.close(reading)
        process.terminate()
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}, role


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
