"""No success reply is sent before its data points are on disk, by the system calls of a gateway."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.soak.queueing import serving
from tests.soak.reporters import Reporters
from tests.support.upstream import Upstream, hangs

CALLS = "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg"
RETURNED = re.compile(r"(fdatasync|fsync)\(\d+<\S*queue\.db-wal>\) += 0|<\.\.\. (fdatasync|fsync) resumed>\) += 0")
ENDED = re.compile(r"\+\+\+ exited with|\+\+\+ killed by")


@pytest.mark.needs("strace")
async def test_the_log_is_synced_before_each_report_is_answered(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    # -D: the gateway is our child, not that of strace.
    strace = ("strace", "-D", "-f", "-y", "-s", "64", "-e", CALLS, "-o", str(trace), sys.executable)
    async with Upstream(hangs) as upstream, serving(tmp_path, upstream, "--grace-s", "0", python=strace) as gateway:
        await Reporters(gateway.address).report_each(range(5))
        gateway.process.signal(signal.SIGTERM)
        await gateway.process.gone()
    lines = await whole(trace, gateway.process.pid)

    answers = [number for number, line in enumerate(lines) if '"HTTP/1.1 200' in line]
    assert len(answers) == 5
    for before, answer in zip([0, *answers], answers, strict=False):
        written = [at for at in range(before, answer) if "pwrite64(" in lines[at] and "queue.db-wal>" in lines[at]]
        assert written, f"nothing was written before line {answer}"
        assert any(RETURNED.search(line) for line in lines[written[-1] : answer]), f"no sync before line {answer}"


async def whole(trace: Path, pid: int) -> list[str]:
    """Return the trace once it contains the end of the process."""
    async with asyncio.timeout(10):
        while True:
            lines = trace.read_text().splitlines()
            if any(line.startswith(f"{pid} ") and ENDED.search(line) for line in lines):
                return lines
            await asyncio.sleep(0.05)
