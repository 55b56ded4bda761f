"""Acknowledged points are on disk: after a kill, by system calls, and on a full disk."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.support.points import filled, names_in
from tests.support.processes import ROOT

APPENDER = (sys.executable, "-m", "tests.delivery.queue.appender")
WITH_LOGS = """
import runpy, sys
from gateway.logs import configure
configure("info", "json")
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
WITHOUT_ROOM = ("sh", "-c", 'ulimit -f 0 && exec "$0" "$@"')


@contextmanager
def appender(folder: Path, mode: str) -> Iterator[Popen[str]]:
    with Popen([*APPENDER, str(folder), mode], cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("acknowledged", [1, 50, 333, 1000, 2000])
async def test_acknowledged_points_survive_a_kill(tmp_path: Path, acknowledged: int) -> None:
    with appender(tmp_path, "forever") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)

    acked = {line.split()[1] for line in lines if line.endswith("\n")}
    assert len(acked) >= acknowledged
    assert acked <= set(await names_in(tmp_path))


RETURNED = re.compile(r"(fdatasync|fsync)\(\d+<\S*queue\.db-wal>\) += 0|<\.\.\. (fdatasync|fsync) resumed>\) += 0")


def is_synced_before_the_ack(trace: Sequence[str]) -> bool:
    """Return whether the last write of the WAL before the ack was followed by a sync."""
    acked = next(number for number, line in enumerate(trace) if '"acked only' in line)
    written = max(
        number for number, line in enumerate(trace[:acked]) if "pwrite64(" in line and "queue.db-wal>" in line
    )
    return any(RETURNED.search(line) for line in trace[written:acked])


@pytest.mark.needs("strace")
def test_the_log_is_synced_before_a_report_is_acknowledged(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=write,pwrite64,fsync,fdatasync"
    command = ["strace", "-f", "-y", "-s", "64", "-e", calls, "-o", str(trace), *APPENDER]
    subprocess.run([*command, str(tmp_path / "data"), "once"], cwd=ROOT, check=True, stdout=PIPE)

    assert is_synced_before_the_ack(trace.read_text().splitlines())


@pytest.mark.parametrize(
    ("steps", "is_synced"),
    [
        (("written", "synced", "acked"), True),
        (("written", "acked"), False),
        (("written", "acked", "synced"), False),
        (("synced", "written", "acked"), False),
        (("written", "failed", "acked"), False),
    ],
    ids=str,
)
def test_a_missing_sync_is_noticed(steps: tuple[str, ...], is_synced: bool) -> None:
    lines = {
        "written": '7 pwrite64(5</data/queue.db-wal>, "7"..., 4096, 32) = 4096',
        "synced": "7 fdatasync(5</data/queue.db-wal>) = 0",
        "failed": "7 fdatasync(5</data/queue.db-wal>) = -1 EIO (Input/output error)",
        "acked": '6 write(1, "acked only\\n", 11) = 11',
    }

    assert is_synced_before_the_ack([lines[step] for step in steps]) is is_synced


def run_steps(folder: Path, *steps: str, shell: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """Run the steps of the appender; return its output and its log events."""
    command = [*shell, sys.executable, "-c", WITH_LOGS, APPENDER[2], str(folder), "steps"]
    ran = subprocess.run(
        command, cwd=ROOT, input="\n".join(steps), capture_output=True, text=True, check=True, timeout=30
    )
    return ran.stdout.splitlines(), [json.loads(line)["event"] for line in ran.stderr.splitlines()]


async def test_a_full_disk_rejects_points_until_it_has_space(tmp_path: Path) -> None:
    full = ("room 8192", "append", "append", "append")
    output, logged = run_steps(tmp_path, "append", *full, "room -1", "append", "append")

    assert output == ["acked 0", *(f"rejected {number} QUEUE_FULL" for number in (2, 3, 4)), "acked 6", "acked 7"]
    assert logged == ["queue_write_failed", "queue_write_recovered"]
    assert await names_in(tmp_path) == ["0", "6", "7"]


async def test_a_queue_on_a_full_disk_is_opened_and_read(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b")
    output, _ = run_steps(tmp_path, "lease", "append", shell=WITHOUT_ROOM)

    assert output == ["leased 2", "rejected 1 QUEUE_FULL"]


async def test_points_acked_on_a_full_disk_are_not_leased_again(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b")
    output, _ = run_steps(tmp_path, "lease", "room 0", "ack", "lease", "room -1", "settled")

    assert output == ["leased 2", "leased 0", "settled"]
    assert await names_in(tmp_path) == []


async def test_points_whose_ack_was_never_written_are_leased_again_after_a_restart(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b")
    output, logged = run_steps(tmp_path, "lease", "room 0", "ack")

    assert output == ["leased 2"]
    assert logged[-1] == "settlements_lost"
    assert await names_in(tmp_path) == ["a", "b"]
