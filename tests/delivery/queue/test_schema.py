"""A file of any older version becomes one of ours; one of a newer version is left alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.delivery.queue import CannotOpen, Store
from gateway.delivery.queue.schema import MIGRATIONS, migrate
from tests.support.points import filled, names_in


def version(path: Path) -> int:
    with closing(sqlite3.connect(path / "queue.db")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def add_a_column(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE points ADD COLUMN colour TEXT DEFAULT 'red'")


def break_off(connection: sqlite3.Connection) -> None:
    add_a_column(connection)
    raise sqlite3.OperationalError("the power went")


async def test_an_empty_file_becomes_one_of_the_newest_version(tmp_path: Path) -> None:
    (tmp_path / "queue.db").touch()

    assert await names_in(tmp_path) == []
    assert version(tmp_path) == len(MIGRATIONS)


async def test_a_step_forward_keeps_what_is_there(tmp_path: Path) -> None:
    await filled(tmp_path, "a")
    with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as connection:
        migrate(connection, [*MIGRATIONS, add_a_column])
        rows = connection.execute("SELECT id, colour FROM points").fetchall()

    assert rows == [(1, "red")]
    assert version(tmp_path) == len(MIGRATIONS) + 1


async def test_a_step_that_breaks_off_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    await filled(tmp_path, "a")
    with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, [*MIGRATIONS, break_off])
        columns = [column[1] for column in connection.execute("PRAGMA table_info(points)")]

    assert "colour" not in columns
    assert version(tmp_path) == len(MIGRATIONS)
    assert await names_in(tmp_path) == ["a"]


async def test_a_file_of_a_newer_gateway_is_left_alone(tmp_path: Path) -> None:
    await filled(tmp_path, "a")
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(CannotOpen) as caught:
        await Store.open(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/queue.db: was written by a newer gateway (version 99, and this gateway knows up to 2); "
        "run that one, or use another folder"
    )
    assert version(tmp_path) == 99
