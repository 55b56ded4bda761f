"""Changes of spec files are seen: at once after an event, else within a time that grows with the cost of a look."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from gateway.files import Fingerprints
from gateway.specs.watcher import changes, look, next_look_s


@pytest.mark.parametrize(
    ("took_s", "wait_s"), [(0.001, 0.1), (0.2, 20), (5, 60)], ids=["few files", "thousands", "a slow mount"]
)
def test_expensive_looks_are_rarer(took_s: float, wait_s: float) -> None:
    assert next_look_s(100, 100 + took_s, 100) == pytest.approx(100 + took_s + wait_s)


@asynccontextmanager
async def watching(folder: Path, *named: Path, wait_per_look: float = 1) -> AsyncIterator[asyncio.Task[Fingerprints]]:
    """Watch a folder; the task ends with the first change, and returns how the files were before."""
    before = look(folder, named)

    async def first_change() -> Fingerprints:
        async with aclosing(changes(folder, lambda: before, wait_per_look=wait_per_look)) as found:
            await anext(found)
        return before

    async with asyncio.TaskGroup() as group:
        task = group.create_task(first_change())
        await asyncio.sleep(1.5)  # past the first look
        yield task
        task.cancel()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}.yaml").touch()
    return folder


async def test_an_event_makes_an_expensive_look_due_at_once(folder: Path) -> None:
    async with watching(folder, wait_per_look=1_000_000) as change:
        assert not change.done()
        (folder / "7.yaml").write_text("a: 1")
        before = await asyncio.wait_for(change, 20)

    assert before != look(folder, [])


async def test_a_change_outside_the_folder_is_seen_without_an_event(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a")
    async with watching(folder, secret) as change:
        assert not change.done()
        secret.write_text("bc")
        before = await asyncio.wait_for(change, 60)

    assert before != look(folder, [secret])
