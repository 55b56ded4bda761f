"""Files as a crash, a bad disk or a bad copy leave them: what is damaged is kept, reported, and can be recovered."""

import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest
from structlog.testing import capture_logs

from gateway.core.outcome.errors import UpstreamError
from gateway.core.outcome.outcome import Reason
from gateway.delivery.queue import PointFilter
from gateway.delivery.queue.damage import count_frames
from tests.support.points import HERE, NOW_NS, filled, leased, names_in, new_point, open_store
from tests.support.recovery import can_recover, recovered

COUNT = 3000
PAGE = 4096
WAL_HEADER, FRAME = 32, 24 + PAGE


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
    [aside] = folder.glob("queue.damaged-*.db-wal")
    assert aside.read_bytes() == log


def flip(file: Path, offset: int) -> None:
    content = bytearray(file.read_bytes())
    content[offset] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "readable"),
    [
        pytest.param(WAL_HEADER + 5 * FRAME + 2000, 5, id="a page"),
        pytest.param(WAL_HEADER + 5 * FRAME + 9, 5, id="the salt of a frame"),
        pytest.param(13, 0, id="the page size in the header"),
        pytest.param(17, 0, id="the salt in the header"),
    ],
)
async def test_a_damaged_log_is_reported_and_copied(tmp_path: Path, offset: int, readable: int) -> None:
    folder = await crashed(tmp_path, 20)
    log = folder / "queue.db-wal"
    flip(log, offset)
    as_it_was = log.read_bytes()
    frames = (len(as_it_was) - WAL_HEADER) // FRAME

    with capture_logs() as logs:
        found = await names_in(folder)

    [entry] = [entry for entry in logs if entry["event"] == "queue_log_damaged"]
    assert len(found) < 20
    assert (entry["log_level"], entry["readable_frames"], entry["unreadable_frames"]) == (
        "error",
        readable,
        frames - readable,
    )
    assert Path(entry["copy"]).read_bytes() == as_it_was


async def test_a_damaged_log_is_reported_once(tmp_path: Path) -> None:
    folder = await crashed(tmp_path, 20)
    flip(folder / "queue.db-wal", WAL_HEADER + 5 * FRAME + 2000)
    async with open_store(folder) as store:
        await store.append([new_point("new")])
        again = tmp_path / "again"
        again.mkdir()
        for name in ("queue.db", "queue.db-wal"):
            copyfile(folder / name, again / name)

    assert count_frames(again / "queue.db-wal")[1] == 0


async def test_a_torn_last_transaction_is_no_damage(tmp_path: Path) -> None:
    folder = await crashed(tmp_path, 20)
    log = folder / "queue.db-wal"
    frames = (log.stat().st_size - WAL_HEADER) // FRAME
    flip(log, WAL_HEADER + (frames - 1) * FRAME + 2000)

    assert count_frames(log)[1] == 0
    assert await names_in(folder) == [str(number) for number in range(19)]


# The database.


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        pytest.param(40 * PAGE, PAGE, id="a page in the middle"),
        pytest.param(-PAGE, PAGE, id="the last page"),
        pytest.param(0, 100, id="the header"),
        pytest.param(0, 1_000_000_000, id="everything"),
    ],
)
async def test_a_damaged_file_is_set_aside_and_reported(tmp_path: Path, offset: int, length: int) -> None:
    folder = await damaged(tmp_path, offset, length)
    as_it_was = (folder / "queue.db").read_bytes()
    with capture_logs() as logs:
        async with open_store(folder) as store:
            await store.append([new_point("new")])
            state = await store.state()

    [aside] = folder.glob("queue.damaged-*")
    assert aside.read_bytes() == as_it_was
    assert state.damaged_files == [aside.name]
    assert [(entry["event"], entry["log_level"], entry["damaged_file"]) for entry in logs] == [
        ("queue_damaged", "error", str(aside))
    ]
    assert await names_in(folder) == ["new"]


async def test_the_log_of_a_damaged_file_is_set_aside_with_it(tmp_path: Path) -> None:
    folder = await crashed(tmp_path, 20, behind=COUNT)
    # SQLite empties the log when it closes a file that it can open.
    (folder / "queue.db").write_bytes(b"\xa5" * PAGE)
    log = (folder / "queue.db-wal").read_bytes()

    assert await names_in(folder) == []
    [database, aside] = sorted(folder.glob("queue.damaged-*"))
    assert aside.name == f"{database.name}-wal"
    assert aside.read_bytes() == log


async def test_a_second_damage_leaves_the_first_file_alone(tmp_path: Path) -> None:
    for _ in range(2):
        await names_in(await damaged(tmp_path, 0, 100))

    assert len(list(tmp_path.glob("queue.damaged-*.db"))) == 2


# Recovery with the program sqlite3, by the steps of docs/delivery-and-queue.md.


COMMANDS = [
    pytest.param("recover", marks=pytest.mark.skipif(not can_recover(), reason="this sqlite3 cannot .recover")),
    "dump",
]


@pytest.mark.needs("sqlite3")
@pytest.mark.parametrize("command", COMMANDS)
async def test_points_of_a_file_cut_in_half_are_recovered(tmp_path: Path, command: str) -> None:
    await filled(tmp_path, *(str(number) for number in range(2400)))
    content = (tmp_path / "queue.db").read_bytes()
    (tmp_path / "queue.db").write_bytes(content[: len(content) // 2])
    await names_in(tmp_path)
    [aside] = tmp_path.glob("queue.damaged-*.db")

    found = await names_in(recovered(aside, command))

    assert len(found) > 1000
    assert found[:1000] == [str(number) for number in range(1000)]


@pytest.mark.needs("sqlite3")
@pytest.mark.parametrize("command", COMMANDS)
async def test_recovered_points_whose_route_is_lost_can_be_listed_and_dropped(tmp_path: Path, command: str) -> None:
    await filled(tmp_path, "a", "b")
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'destinations'").fetchone()
    with (tmp_path / "queue.db").open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\xa5" * PAGE)
    folder = recovered(tmp_path / "queue.db", command)

    async with open_store(folder) as store:
        await store.append([new_point("new")])
        lost = await store.points(PointFilter(route="lost"))
        dropped = await store.drop(PointFilter(ids=[point.id for point in lost]))
        rest = await leased(store)

    assert (len(lost), dropped, rest) == (2, 2, ["new"])


async def test_damage_found_while_running_is_logged_once_with_a_hint(tmp_path: Path) -> None:
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
        ("queue_read_failed", "a restart sets the damaged file aside and starts an empty queue")
    ]
    assert await names_in(tmp_path) == []
    assert len(list(tmp_path.glob("queue.damaged-*.db"))) == 1
