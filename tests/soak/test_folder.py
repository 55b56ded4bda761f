"""Failures of the disk and the files below a running queue."""

import resource
import signal
from pathlib import Path

import pytest

from tests.soak.queueing import data_of, deliver_the_rest, kept, serving, until
from tests.soak.reporters import Reporters
from tests.soak.sink import Sink
from tests.support.processes import Command
from tests.support.recovery import recovered
from tests.support.upstream import Upstream, hangs


def leave_room(process: Command, size: int) -> None:
    """Limit the size of files of the process, as a full disk does."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit, which is in Linux")
async def test_a_full_disk_rejects_reports_in_their_dialect_until_it_has_space(tmp_path: Path) -> None:
    sink, reporters = Sink(), Reporters()
    async with Upstream(sink.for_gateway(0), at_once=True) as upstream, serving(tmp_path, upstream) as gateway:
        reporters.address = gateway.address
        await reporters.report_each(range(10))
        leave_room(gateway.process, 1)
        await reporters.report_each(range(10, 20))
        rejection = reporters.last
        leave_room(gateway.process, resource.RLIM_INFINITY)
        await reporters.report_each(range(20, 30))
        await until(lambda: len(sink.taken) == 20)
        gateway.process.signal(signal.SIGTERM)
        await gateway.process.gone()
    left = await kept(tmp_path)

    assert rejection is not None
    assert (rejection.status, rejection.json["error"]["code"]) == (503, "SYS.1006")
    assert rejection.json["error"]["details"] == "the queue cannot be written"
    assert reporters.rejected == set(range(10, 20))
    assert sink.taken.keys() == set(range(10)) | set(range(20, 30))
    assert (left, sink.unexplained()) == ([], {})


async def test_a_torn_end_of_the_log_loses_only_the_torn_report(tmp_path: Path) -> None:
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
    """Report to a gateway that cannot deliver, and end it by a signal."""
    async with Upstream(hangs) as upstream, serving(folder, upstream, "--grace-s", "0") as gateway:
        reporters = Reporters(gateway.address)
        await reporters.report_each(range(reports))
        gateway.process.signal(last)
        await gateway.process.gone()
    assert reporters.acknowledged == set(range(reports))
