"""The data folder: one process, one user, no symbolic links."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from structlog.testing import capture_logs

from gateway.delivery.queue import CannotOpen, Store
from tests.support.points import filled, names_in, new_point, open_store
from tests.support.processes import ROOT

OPEN_AS_NOBODY = """
import asyncio, os, sys
from pathlib import Path
from gateway.delivery.queue import CannotOpen, Store
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(Store.open(Path(sys.argv[1])))
except CannotOpen as error:
    print(error)
"""


async def test_a_second_gateway_fails_and_names_the_process_that_holds_the_folder(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with pytest.raises(CannotOpen) as caught:
            await Store.open(tmp_path)
        await store.append([new_point("a")])

    assert str(caught.value) == (
        f"{tmp_path}: another gateway holds this data folder (process {os.getpid()}); "
        "stop that one, or use another folder"
    )
    assert await names_in(tmp_path) == ["a"]


async def test_a_folder_that_cannot_be_opened_is_released(tmp_path: Path) -> None:
    (tmp_path / "queue.db").mkdir()
    with pytest.raises(CannotOpen) as caught:
        await Store.open(tmp_path)
    (tmp_path / "queue.db").rmdir()

    assert str(caught.value) == f"{tmp_path}/queue.db: cannot be opened: Is a directory"
    assert await names_in(tmp_path) == []


async def test_a_missing_folder_is_created_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "data"
    before = os.umask(0)
    try:
        async with open_store(folder) as store:
            await store.append([new_point()])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    finally:
        os.umask(before)

    assert modes == {"data": 0o700, "queue.db": 0o600, "queue.db-wal": 0o600, "lock": 0o600, "ballast": 0o600}


async def test_a_file_instead_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(CannotOpen) as caught:
        await Store.open(tmp_path / "data")
    assert str(caught.value).startswith(f"{tmp_path}/data: cannot be the data folder: File exists; ")


def open_as_nobody(folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", OPEN_AS_NOBODY, str(folder)], cwd=ROOT, stdout=PIPE, text=True, check=True
    )
    return ran.stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can open, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_folder_without_write_permission_is_an_error(open_folder: Path) -> None:
    open_folder.chmod(0o555)

    place = f"{open_folder}: cannot be the data folder: Permission denied"
    assert open_as_nobody(open_folder) == f"{place}; it must be a folder that this user may write in\n"


async def test_a_database_without_write_permission_is_an_error(open_folder: Path) -> None:
    await filled(open_folder, "a")
    open_folder.chmod(0o777)
    (open_folder / "lock").chmod(0o666)
    (open_folder / "queue.db").chmod(0o444)

    said = open_as_nobody(open_folder)
    assert said == f"{open_folder}/queue.db: cannot be opened: Permission denied\n"
    (open_folder / "queue.db").chmod(0o600)
    assert await names_in(open_folder) == ["a"]


@pytest.mark.parametrize("name", ["lock", "queue.db"])
async def test_a_symlink_in_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    other.write_text("of somebody else")
    data = tmp_path / "data"
    data.mkdir()
    (data / name).symlink_to(other)

    with pytest.raises(CannotOpen, match="symbolic links"):
        await Store.open(data)

    assert other.read_text() == "of somebody else"


@pytest.mark.parametrize("empty", [True, False], ids=["emptied", "deleted"])
async def test_a_used_folder_without_its_database_is_logged(tmp_path: Path, empty: bool) -> None:
    await filled(tmp_path, "a")
    database = tmp_path / "queue.db"
    database.unlink()
    if empty:
        database.touch()
    with capture_logs() as logs:
        assert await names_in(tmp_path) == []
    with capture_logs() as later:
        assert await names_in(tmp_path) == []

    assert [entry["event"] for entry in logs] == ["queue_missing"]
    assert later == []
