"""The migrations make the tables that the models describe, and can be taken back."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

import migrations
from records import database
from records.database import migrating, migration_config
from records.tables import Base


def _tables(url: str) -> set[str]:
    engine = database.connect(url)
    names = set(inspect(engine).get_table_names()) - {"alembic_version"}
    engine.dispose()
    return names


def test_the_tables_go_up_and_down_and_up_again(bare_database_url: str) -> None:
    expected = set(Base.metadata.tables)

    database.upgrade(bare_database_url)
    assert _tables(bare_database_url) == expected

    with migrating(bare_database_url) as connection:
        command.downgrade(migration_config(connection), "base")
    assert _tables(bare_database_url) == set()

    database.upgrade(bare_database_url)
    assert _tables(bare_database_url) == expected


def test_models_and_migrations_do_not_differ(database_url: str) -> None:
    with migrating(database_url) as connection:
        command.check(migration_config(connection))


def test_the_newest_migration_is_the_one_that_is_written_down() -> None:
    scripts = ScriptDirectory.from_config(migration_config())
    assert scripts.get_heads() == [migrations.HEAD]


def test_two_upgrades_at_once_make_the_tables_once(bare_database_url: str) -> None:
    faults: list[BaseException] = []
    start = threading.Barrier(2)

    def upgrade() -> None:
        start.wait()
        try:
            database.upgrade(bare_database_url)
        except BaseException as fault:  # noqa: BLE001 - handed to the asserting thread
            faults.append(fault)

    threads = [threading.Thread(target=upgrade) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert database.schema_state(bare_database_url).is_current


def test_the_state_of_the_schema_says_what_to_do(bare_database_url: str) -> None:
    before = database.schema_state(bare_database_url)
    database.upgrade(bare_database_url)
    after = database.schema_state(bare_database_url)

    assert not before.is_current
    assert before.current is None
    assert "nightshift db upgrade" in before.sentence
    assert after.is_current


def test_the_state_of_tables_that_are_behind_names_both_migrations(bare_database_url: str) -> None:
    with migrating(bare_database_url) as connection:
        command.upgrade(migration_config(connection), "0005")

    state = database.schema_state(bare_database_url)

    assert not state.is_current
    assert state.sentence.startswith(
        f"The tables are at migration 0005, this version needs {migrations.HEAD};"
    )


def test_tables_that_were_taken_back_to_the_beginning_are_none(bare_database_url: str) -> None:
    database.upgrade(bare_database_url)
    with migrating(bare_database_url) as connection:
        command.downgrade(migration_config(connection), "base")

    assert database.schema_state(bare_database_url).current is None


def test_asking_for_the_state_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "absent" / "nightshift.db"

    assert not database.schema_state(f"sqlite:///{file}").is_current
    assert not file.parent.exists()


def test_asking_for_the_state_loads_no_alembic(sqlite_url: str) -> None:
    script = f"""
import sys
from records.database import schema_state

assert schema_state({sqlite_url!r}).is_current
sys.exit("alembic" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
