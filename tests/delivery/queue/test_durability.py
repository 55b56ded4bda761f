"""What was acknowledged is on disk: held by kills, by system calls, and by disks that take no more."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
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
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, acknowledged: int) -> None:
    with appender(tmp_path, "for ever") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)

    acked = {line.split()[1] for line in lines if line.endswith("\n")}
    assert len(acked) >= acknowledged
    assert acked <= set(await names_in(tmp_path))


def synced_before_it_was_acknowledged(folder: Path, synchronous: str) -> bool:
    """Trace the process, and tell whether the log's last write before the word was followed by a sync of it."""
    trace = folder / "trace"
    calls = "trace=write,pwrite64,fsync,fdatasync"
    command = ["strace", "-f", "-y", "-s", "64", "-e", calls, "-o", str(trace), *APPENDER]
    subprocess.run([*command, str(folder / "data"), "once", synchronous], cwd=ROOT, check=True, stdout=PIPE)
    lines = trace.read_text().splitlines()
    said = next(number for number, line in enumerate(lines) if '"acked only' in line)
    written = max(number for number, line in enumerate(lines[:said]) if "pwrite64(" in line and "queue.db-wal>" in line)
    returned = re.compile(r"(fdatasync|fsync)\(\d+<\S*queue\.db-wal>\) += 0|<\.\.\. (fdatasync|fsync) resumed>\) += 0")
    return any(returned.search(line) for line in lines[written:said])


@pytest.mark.needs("strace")
def test_the_log_is_synced_before_a_report_is_acknowledged(tmp_path: Path) -> None:
    assert synced_before_it_was_acknowledged(tmp_path, "FULL")


@pytest.mark.needs("strace")
def test_without_syncing_the_trace_would_tell(tmp_path: Path) -> None:
    assert not synced_before_it_was_acknowledged(tmp_path, "OFF")


def told(folder: Path, *steps: str, shell: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """Run the steps, in that shell; return what was said, and the names of the log's events."""
    command = [*shell, sys.executable, "-c", WITH_LOGS, APPENDER[2], str(folder), "as told"]
    ran = subprocess.run(
        command, cwd=ROOT, input="\n".join(steps), capture_output=True, text=True, check=True, timeout=30
    )
    return ran.stdout.splitlines(), [json.loads(line)["event"] for line in ran.stderr.splitlines()]


async def test_a_disk_that_is_full_refuses_reports_and_is_tried_again(tmp_path: Path) -> None:
    full = ("room 8192", "append", "append", "append")
    said, logged = told(tmp_path, "append", *full, "room -1", "append", "append")

    assert said == ["acked 0", *(f"refused {number} QUEUE_FULL" for number in (2, 3, 4)), "acked 6", "acked 7"]
    assert logged == ["the queue cannot be written", "the queue can be written again"]
    assert await names_in(tmp_path) == ["0", "6", "7"]


async def test_a_queue_is_opened_and_read_on_a_disk_that_is_full(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b")
    said, _ = told(tmp_path, "lease", "append", shell=WITHOUT_ROOM)

    assert said == ["leased 2", "refused 1 QUEUE_FULL"]


async def test_what_was_acked_on_a_disk_that_is_full_is_not_sent_again(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b")
    said, _ = told(tmp_path, "lease", "room 0", "ack", "lease", "room -1", "settled")

    assert said == ["leased 2", "leased 0", "settled"]
    assert await names_in(tmp_path) == []


async def test_acks_that_a_full_disk_never_took_are_sent_again_after_the_end(tmp_path: Path) -> None:
    await filled(tmp_path, "a", "b")
    said, logged = told(tmp_path, "lease", "room 0", "ack")

    assert said == ["leased 2"]
    assert logged[-1] == "the disk did not take what became of points; they will be sent again"
    assert await names_in(tmp_path) == ["a", "b"]
