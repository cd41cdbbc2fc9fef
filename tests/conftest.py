"""What every test may ask for: real databases and a real broker."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from records import database
from tests import services
from worker.queue.loading import loading

BOTH = ("sqlite", "postgresql")
_TEMPLATE = "nightshift_template"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Load all tests as the program loads, unseen by the garbage collector."""
    with loading():
        return (yield)


@pytest.fixture(autouse=True)
def _no_chance_is_fixed_for_others() -> Iterator[None]:
    """Let a test that trains here not make torch warn in the next one, whichever that is."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """Address of a private Redis-compatible server; one per test process."""
    try:
        with services.redis() as url:
            yield url
    except services.ServiceMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[services.PostgresServer]:
    """A private PostgreSQL server; one per test process."""
    try:
        with services.postgres() as server:
            yield server
    except services.ServiceMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: services.PostgresServer) -> str:
    """Name of a migrated PostgreSQL database to copy."""
    database.upgrade(postgres_server.create(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy. Closing its last connection folded the WAL into it."""
    file = tmp_path_factory.mktemp("template") / "nightshift.db"
    database.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Address of a migrated, empty SQLite database."""
    file = tmp_path / "nightshift.db"
    shutil.copyfile(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture
def postgresql_url(
    postgres_server: services.PostgresServer, postgres_template: str
) -> Iterator[str]:
    """Address of a migrated, empty PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres_server.create(name, postgres_template)
    postgres_server.drop(name)


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of a migrated, empty database: the test runs once on each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=BOTH)
def bare_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a database without tables: the test runs once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'bare' / 'nightshift.db'}"
        return
    server: services.PostgresServer = request.getfixturevalue("postgres_server")
    name = f"bare_{uuid.uuid4().hex}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Engine of a migrated, empty database of each kind."""
    engine = database.connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    """Session factory on a migrated, empty database of each kind."""
    return database.session_factory(engine)
