from __future__ import annotations

import stat
from pathlib import Path

import pytest

from worker.queue import broker
from worker.queue.processes import Supervisor
from worker.queue.settings import Settings


@pytest.fixture(autouse=True)
def _server_installed() -> None:
    try:
        broker.find_server()
    except broker.BrokerUnavailable as missing:
        pytest.skip(str(missing))


def test_the_embedded_broker_listens_on_a_private_socket_only(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    path = broker.prepare_socket(folder)
    with Supervisor(Settings(home=tmp_path)) as supervisor:
        supervisor.start("broker", command=broker.server_command(path, folder, persistent=False))
        broker.wait_until_answers(path)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert not broker.answers(path)
    broker.remove_socket(path, folder)


def test_a_home_too_deep_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    path = broker.prepare_socket(folder)
    assert len(str(path).encode()) <= broker.LONGEST_SOCKET_PATH
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    broker.remove_socket(path, folder)
    assert not path.parent.exists()


def test_no_server_at_all_is_one_sentence_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("worker.queue.broker.find_spec", lambda _: None)
    with pytest.raises(broker.BrokerUnavailable, match="NIGHTSHIFT_BROKER_URL"):
        broker.find_server()
