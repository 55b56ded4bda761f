"""The memory of a process to which thousands of callers without a key send bodies."""

import asyncio
import re
import resource
from pathlib import Path

import pytest

from tests.support.caller import exchange
from tests.support.gateway import raw_report, says
from tests.support.upstream import Upstream
from tests.test_processes import serving

CONNECTIONS = 1800
ADDRESSES = 6
SENT_BYTES = 100_000
MOST_MIB = 280
AFTERWARDS_MIB = 150
RELEASED_WITHIN_S = 30

HEAD = b"POST /v2/index.php HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n"

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def resident_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


async def begin_a_body(address: str, number: int) -> Opened | None:
    """Send a head that declares 1 MiB, and a part of the body, to a route whose signature is in the body.

    Returns None if the gateway closes the connection first.
    """
    host, _, port = address.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, port, local_addr=(f"127.0.0.{2 + number % ADDRESSES}", 0))
        writer.write(HEAD + bytes(SENT_BYTES))
        await asyncio.wait_for(writer.drain(), 15)
    except OSError:
        return None
    return reader, writer


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_bodies_of_callers_without_a_key_take_bounded_memory_which_is_returned() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2 * CONNECTIONS:
        pytest.skip(f"needs {2 * CONNECTIONS} file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        async with (
            Upstream(says(0)) as upstream,
            serving(upstream) as (gateway, address, _),
            gateway.followed(),
        ):
            opening = asyncio.gather(*(begin_a_body(address, number) for number in range(CONNECTIONS)))
            most = 0.0
            while not opening.done():
                most = max(most, resident_mib(gateway.pid))
                await asyncio.sleep(0.05)
            opened = [each for each in opening.result() if each is not None]
            honest = await exchange(address, raw_report())
            most = max(most, resident_mib(gateway.pid))
            for _, writer in opened:
                writer.transport.abort()
            async with asyncio.timeout(RELEASED_WITHIN_S):
                while resident_mib(gateway.pid) > AFTERWARDS_MIB:
                    await asyncio.sleep(0.1)
            print(f"{len(opened)} connections, at most {most:.0f} MiB, then {resident_mib(gateway.pid):.0f} MiB")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert honest.status == 200
    assert most < MOST_MIB
