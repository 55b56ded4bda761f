"""Files as a crash, a bad disk or a bad copy leave them: what was committed and can be read is carried on."""

import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest
from structlog.testing import capture_logs

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from tests.support.points import HERE, NOW_NS, filled, leased, names_in, new_point, open_store

COUNT = 3000
PAGE = 4096


async def crashed(tmp_path: Path, commits: int, *, behind: int = 0) -> Path:
    """Return a folder as a crash would leave it: these commits are in the log alone, what is behind in the database."""
    living, dead = tmp_path / "living", tmp_path / "dead"
    await filled(living, *("behind" for _ in range(behind)))
    async with open_store(living) as store:
        for number in range(commits):
            await store.append([new_point(str(number))])
        dead.mkdir()
        for name in ("queue.db", "queue.db-wal"):
            copyfile(living / name, dead / name)
    return dead


async def damaged(folder: Path, offset: int, length: int) -> Path:
    """Fill a store, and overwrite part of its file with what is not SQLite's; a negative offset counts from the end."""
    async with open_store(folder) as store:
        await store.append([new_point(str(number)) for number in range(COUNT)])
    file = folder / "queue.db"
    content = bytearray(file.read_bytes())
    offset %= len(content)
    length = min(length, len(content) - offset)
    content[offset : offset + length] = b"\xa5" * length
    file.write_bytes(content)
    return folder


# The write-ahead log.


async def test_what_is_only_in_the_log_is_there_after_a_crash(tmp_path: Path) -> None:
    assert await names_in(await crashed(tmp_path, 20)) == [str(number) for number in range(20)]


@pytest.mark.parametrize("cut", [1, 100, PAGE])
async def test_a_log_that_was_cut_off_gives_all_commits_before_the_cut(tmp_path: Path, cut: int) -> None:
    folder = await crashed(tmp_path, 20)
    log = folder / "queue.db-wal"
    log.write_bytes(log.read_bytes()[:-cut])

    assert await names_in(folder) == [str(number) for number in range(19)]


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"\xa5" * 5000, b"\xa5"], ids=["zeros", "noise", "one byte"])
async def test_garbage_behind_the_log_is_left_out(tmp_path: Path, garbage: bytes) -> None:
    folder = await crashed(tmp_path, 20)
    with (folder / "queue.db-wal").open("ab") as log:
        log.write(garbage)

    assert await names_in(folder) == [str(number) for number in range(20)]


@pytest.mark.parametrize("left", [None, b""], ids=["missing", "empty"])
async def test_a_log_without_its_database_is_kept(tmp_path: Path, left: bytes | None) -> None:
    folder = await crashed(tmp_path, 20)
    log = (folder / "queue.db-wal").read_bytes()
    (folder / "queue.db").unlink()
    if left is not None:
        (folder / "queue.db").write_bytes(left)

    assert await names_in(folder) == []
    [aside] = folder.glob("queue.corrupt-*.db-wal")
    assert aside.read_bytes() == log


# The database.


@pytest.mark.parametrize(
    ("offset", "length", "lost_at_most"),
    [
        pytest.param(40 * PAGE, PAGE, 40, id="a page in the middle"),
        pytest.param(-PAGE, PAGE, 40, id="the last page"),
        pytest.param(30 * PAGE, 10 * PAGE, 300, id="ten pages"),
        pytest.param(0, 100, COUNT, id="the header"),
        pytest.param(0, 1_000_000_000, COUNT, id="everything"),
    ],
)
async def test_what_can_be_read_of_a_damaged_file_is_carried_on(
    tmp_path: Path, offset: int, length: int, lost_at_most: int
) -> None:
    folder = await damaged(tmp_path, offset, length)
    as_it_was = (folder / "queue.db").read_bytes()
    with capture_logs() as logs:
        async with open_store(folder) as store:
            found = await leased(store, COUNT)
            await store.append([new_point("new")])

    assert len(found) >= COUNT - lost_at_most
    assert found == sorted(found, key=int)
    [aside] = folder.glob("queue.corrupt-*.db")
    assert aside.read_bytes() == as_it_was
    assert (logs[-1]["saved"], logs[-1]["damaged_file"]) == (len(found), str(aside))
    assert logs[-1]["lost"] in (COUNT - len(found), "unknown")
    assert len(await names_in(folder)) == len(found) + 1


async def test_the_log_of_a_damaged_file_counts_too(tmp_path: Path) -> None:
    folder = await crashed(tmp_path, 20, behind=COUNT)
    with (folder / "queue.db").open("r+b") as file:
        file.seek(40 * PAGE)
        file.write(b"\xa5" * PAGE)
    found = await names_in(folder)

    assert len(list(folder.glob("queue.corrupt-*"))) == 2
    assert found[-20:] == [str(number) for number in range(20)]
    assert COUNT - 40 < len(found) - 20 < COUNT


async def test_a_person_can_look_at_points_whose_route_is_lost(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.append([new_point("a")])
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'destinations'").fetchone()
    with (tmp_path / "queue.db").open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\xa5" * PAGE)

    async with open_store(tmp_path) as store:
        [found] = await store.points()
    assert (found.destination.route, found.id) == ("lost", 1)


async def test_a_second_damage_leaves_the_first_file_alone(tmp_path: Path) -> None:
    for _ in range(2):
        await names_in(await damaged(tmp_path, 0, 100))

    assert len(list(tmp_path.glob("queue.corrupt-*.db"))) == 2


@pytest.mark.parametrize(
    "moved", [(), ("queue.db",), ("queue.db", "queue.db-wal")], ids=["nothing", "database", "both"]
)
async def test_saving_that_was_interrupted_is_finished_by_the_next_start(
    tmp_path: Path, moved: tuple[str, ...]
) -> None:
    folder = await crashed(tmp_path, 3)
    async with open_store(tmp_path / "copy") as store:
        await store.append([new_point("saved")])
    (tmp_path / "copy" / "queue.db").rename(folder / "queue.saved-T.db")
    for name in moved:
        (folder / name).rename(folder / name.replace("queue", "queue.corrupt-T"))

    assert await names_in(folder) == ["saved"]
    assert {path.name for path in folder.iterdir()} == {
        "lock",
        "queue.db",
        "queue.corrupt-T.db",
        "queue.corrupt-T.db-wal",
    }


async def test_a_damage_that_shows_while_running_is_said_once_with_what_to_do(tmp_path: Path) -> None:
    count = 30_000  # more than SQLite keeps in memory
    async with open_store(tmp_path) as store:
        await store.append([new_point(str(number)) for number in range(count)])
    with capture_logs() as logs:
        async with open_store(tmp_path) as store:
            with (tmp_path / "queue.db").open("r+b") as file:
                file.seek(200 * PAGE)
                file.write(b"\xa5" * 300 * PAGE)
            for _ in range(2):
                with pytest.raises(UpstreamError) as caught:
                    await store.lease(HERE, count, NOW_NS)

    assert caught.value.outcome.reason is Reason.INTERNAL
    assert [(entry["event"], entry["hint"]) for entry in logs] == [
        ("the queue cannot be read", "a restart saves what can be read")
    ]
    assert len(await names_in(tmp_path)) > count / 2
