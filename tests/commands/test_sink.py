"""gateway sink."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from tests.delivery.upstream import Upstream, hangs
from tests.processes import ROOT, command
from tests.terminal import Ended, run

SINK = ("sink", "tencent-receiver", "--listen", "127.0.0.1:0")
REPORT = ("report", "tencent-receiver", "--given", "region=sh", "--key", "an-id", "--secret", "env:POST_KEY")


async def report(address: str) -> Ended:
    return await asyncio.to_thread(run, *REPORT, "--url", f"http://{address}")


async def test_without_a_secret_whoever_reports_is_believed_and_sigterm_ends_with_0() -> None:
    async with command(*SINK) as sink:
        reported = await report((await sink.event("listening"))["address"])
        line = await sink.line()
        sink.signal(signal.SIGTERM)
        code, _ = await sink.end()

    assert (code, reported.code) == (0, 0)
    assert '"metric":"gateway.test"' in line


async def test_another_secret_is_refused_in_the_vendors_words_and_nothing_is_printed() -> None:
    environ = {"OTHER": "another-secret"}
    async with command(*SINK, "--key", "an-id", "--secret", "env:OTHER", environ=environ) as sink:
        reported = await report((await sink.event("listening"))["address"])
        sink.signal(signal.SIGINT)
        code, output = await sink.end()

    assert (code, output) == (130, "")
    assert (reported.code, reported.output) == (1, "UNAVAILABLE UPSTREAM_AUTH: the signature does not match\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [("THROTTLED", "RESOURCE_EXHAUSTED THROTTLED"), ("unavailable", "UNAVAILABLE UPSTREAM_DOWN"), ("OK", "OK")],
)
async def test_it_answers_as_told(answer: str, said: str) -> None:
    async with command(*SINK, "--answer", answer) as sink:
        reported = await report((await sink.event("listening"))["address"])

    assert reported.output.partition(":")[0] == said


def test_it_ends_when_nobody_reads_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    arguments = [sys.executable, "-m", "gateway", *SINK, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, text=True) as sink:
        os.close(theirs)
        os.close(ours)
        assert sink.stderr is not None
        address = sink.stderr.readline().partition('"address": "')[2].partition('"')[0]

        reported = run(*REPORT, "--url", f"http://{address}")
        _, log = sink.communicate(timeout=20)

    assert (sink.returncode, reported.code) == (0, 0)
    assert "Traceback" not in log
    assert "Exception" not in log


async def test_a_taken_port_is_one_line() -> None:
    async with Upstream(hangs) as taken:
        ended = await asyncio.to_thread(run, "sink", "zstack", "--listen", taken.host)

    assert (ended.code, ended.complaint) == (1, f"gateway: cannot listen on {taken.host}: address already in use")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["zstak"], 1, "no provider is named 'zstak'; did you mean 'zstack'?"),
        (["zstack", "--listen", "here"], 2, "--listen: 'here' is not an address; write host:port, like "),
        (["zstack", "--listen", "127.0.0.1:99999"], 2, "--listen: '127.0.0.1:99999' has a port above 65535"),
        (["zstack", "--answer", "UNAVAILABEL"], 2, "--answer: 'UNAVAILABEL' is no code and no reason; did you mean "),
        (["zstack", "--key", "k"], 2, "--secret is missing; write env:NAME or file:PATH"),
        (["tencent-receiver", "--secret", "env:POST_KEY"], 2, "tencent-receiver has a key id: give --key"),
        (["zstack", "--given", "region=sh"], 2, "--given: nothing here reads 'region'; none is needed"),
        (["zstack", "--routes", "/nope"], 1, "there is no folder /nope"),
        (["zstack", "--tls-key", "key.pem"], 2, "--tls-key: its certificate is missing; give --tls-cert too"),
        (["zstack", "--tls-cert", "/nope"], 1, "--tls-cert: /nope cannot be read: no such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ended = run("sink", *arguments)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")
