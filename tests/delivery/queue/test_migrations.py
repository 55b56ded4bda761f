"""A file of an older version is migrated; a file of a newer version is left unchanged."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.delivery.queue import CannotOpen, Store
from gateway.delivery.queue.database import MIGRATIONS
from tests.support.points import filled, names_in


def version(path: Path) -> int:
    with closing(sqlite3.connect(path / "queue.db")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def indexes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path / "queue.db")) as connection:
        return {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'points\\_%' ESCAPE '\\'")
        }


async def of_version_1(path: Path, *names: str, statement: str = "") -> None:
    """Leave a file as version 1 wrote it."""
    await filled(path, *names)
    with closing(sqlite3.connect(path / "queue.db")) as connection:
        connection.executescript(f"""
            DROP INDEX points_dead_letter;
            CREATE INDEX points_parked ON points (id) WHERE state = 1;
            PRAGMA user_version = 1;
            {statement}
        """)


async def test_an_empty_file_gets_the_newest_version(tmp_path: Path) -> None:
    (tmp_path / "queue.db").touch()

    assert await names_in(tmp_path) == []
    assert version(tmp_path) == len(MIGRATIONS)


async def test_a_migration_keeps_the_points(tmp_path: Path) -> None:
    await of_version_1(tmp_path, "a")

    assert await names_in(tmp_path) == ["a"]
    assert (version(tmp_path), indexes(tmp_path)) == (len(MIGRATIONS), {"points_due", "points_dead_letter"})


async def test_a_failed_migration_leaves_the_file_unchanged(tmp_path: Path) -> None:
    await of_version_1(tmp_path, "a", statement="CREATE INDEX points_dead_letter ON points (id);")
    before = indexes(tmp_path)

    with pytest.raises(CannotOpen, match="points_dead_letter already exists"):
        await Store.open(tmp_path)

    assert "points_parked" in before
    assert (version(tmp_path), indexes(tmp_path)) == (1, before)


async def test_a_file_of_a_newer_gateway_is_left_unchanged(tmp_path: Path) -> None:
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
