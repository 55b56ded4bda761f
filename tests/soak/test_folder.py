"""What lies under a running queue, when it fails: disks, files and folders."""

import resource
import signal
import sys
from pathlib import Path

import pytest

from tests.soak.queueing import data_of, deliver_the_rest, kept, serving, starting, until
from tests.soak.reporters import Reporters
from tests.soak.sink import Sink
from tests.support.processes import Command
from tests.support.recovery import recovered
from tests.support.upstream import Upstream, hangs

# Root may write every folder. Without its capabilities, the modes of files apply to it as to every user.
WITHOUT_CAPABILITIES = """
import ctypes, sys
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
from gateway.cli import main
main(sys.argv[3:])
"""


def leave_room(process: Command, size: int) -> None:
    """Let no file of the process grow beyond that size, as on a disk that is full."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux, to fill a disk under a running process")
async def test_a_disk_that_is_full_refuses_reports_in_their_dialect_until_there_is_room(tmp_path: Path) -> None:
    sink, reporters = Sink(), Reporters()
    async with Upstream(sink.for_gateway(0), at_once=True) as upstream, serving(tmp_path, upstream) as gateway:
        reporters.address = gateway.address
        await reporters.report_each(range(10))
        leave_room(gateway.process, 1)
        await reporters.report_each(range(10, 20))
        refusal = reporters.last
        leave_room(gateway.process, resource.RLIM_INFINITY)
        await reporters.report_each(range(20, 30))
        await until(lambda: len(sink.taken) == 20)
        gateway.process.signal(signal.SIGTERM)
        await gateway.process.gone()
    left = await kept(tmp_path)

    assert refusal is not None
    assert (refusal.status, refusal.json["error"]["code"]) == (503, "SYS.1006")
    assert refusal.json["error"]["details"] == "the queue cannot be written"
    assert reporters.refused == set(range(10, 20))
    assert sink.taken.keys() == set(range(10)) | set(range(20, 30))
    assert (left, sink.unexplained()) == ([], {})


async def test_a_torn_end_of_the_log_costs_no_more_than_what_was_torn(tmp_path: Path) -> None:
    sink = Sink()
    await fill(tmp_path, 20, signal.SIGKILL)
    log = data_of(tmp_path) / "queue.db-wal"
    log.write_bytes(log.read_bytes()[:-100])
    await deliver_the_rest(tmp_path, sink, 1)

    assert set(range(19)) <= sink.taken.keys() <= set(range(20))


@pytest.mark.needs("sqlite3")
async def test_points_recovered_from_a_damaged_database_are_delivered(tmp_path: Path) -> None:
    sink = Sink()
    await fill(tmp_path, 200, signal.SIGTERM)
    database = data_of(tmp_path) / "queue.db"
    database.write_bytes(database.read_bytes()[:-4096] + b"?" * 4096)
    async with Upstream(sink.for_gateway(1), at_once=True) as upstream, serving(tmp_path, upstream) as gateway:
        reporters = Reporters(gateway.address)
        await reporters.report_each(range(200, 210))
        await until(lambda: len(sink.taken) == 10)
        metric = await gateway.metric("gateway_queue_damaged_files")
    [aside] = database.parent.glob("queue.damaged-*.db")
    folder = recovered(aside, "dump")
    database.parent.rename(tmp_path / "damaged")
    (tmp_path / "damaged" / folder.name).rename(database.parent)
    await deliver_the_rest(tmp_path, sink, 2)

    assert any("queue_damaged" in line for line in gateway.process.log)
    assert metric == 1
    assert len(sink.taken) > 110
    assert sink.taken.keys() <= set(range(210))


async def fill(folder: Path, reports: int, last: int) -> None:
    """Let a gateway take reports that it cannot deliver, and end by that signal."""
    async with Upstream(hangs) as upstream, serving(folder, upstream, "--grace-s", "0") as gateway:
        reporters = Reporters(gateway.address)
        await reporters.report_each(range(reports))
        gateway.process.signal(last)
        await gateway.process.gone()
    assert reporters.acknowledged == set(range(reports))


async def test_a_second_gateway_on_the_folder_is_one_clear_line(tmp_path: Path) -> None:
    async with serving(tmp_path, None) as first, starting(tmp_path, None) as second:
        code, _ = await second.end()

    [line] = without_warnings(second.log)
    assert code == 1
    assert line == (
        f"gateway: --data: {data_of(tmp_path)}: another gateway holds this data folder (process {first.process.pid}); "
        "stop that one, or use another folder"
    )


def without_warnings(log: list[str]) -> list[str]:
    return [line for line in log if ": warning: " not in line]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, whose capabilities it drops")
async def test_a_folder_that_may_not_be_written_is_one_clear_line(tmp_path: Path) -> None:
    data_of(tmp_path).mkdir(mode=0o555)
    async with starting(tmp_path, None, python=(sys.executable, "-c", WITHOUT_CAPABILITIES)) as process:
        code, _ = await process.end()

    [line] = without_warnings(process.log)
    assert code == 1
    assert line.startswith(f"gateway: --data: {data_of(tmp_path)}: cannot be the data folder: Permission denied; ")
