"""How log lines look, from a process of its own: a logger is configured once and for all."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from gateway.logs import LogQueue

LOGS = """
import logging, sys, structlog
from gateway.logs import configure
configure(*sys.argv[1:])
log = structlog.get_logger()
log.info("report", message="a\\nb\\x1b[2Jc", code="OK")
log.debug("hidden")
def fail(text):
    local = text * 2
    raise ValueError("oops")
try:
    fail("abc")
except ValueError:
    log.exception("bug")
logging.getLogger("aiohttp.server").error("of others")
logging.getLogger("aiohttp.server").info("hidden")
"""


def logged(level: str, log_format: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", LOGS, level, log_format], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    return ran.stderr.removesuffix("\n").split("\n")


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_json_has_one_line_an_event(log_format: str) -> None:
    entries = [json.loads(line) for line in logged("info", log_format)]

    assert [(entry["event"], entry["level"]) for entry in entries] == [
        ("report", "info"),
        ("bug", "error"),
        ("of others", "error"),
    ]
    assert entries[0].items() >= {"message": "a\nb\x1b[2Jc", "code": "OK"}.items()
    assert "ValueError: oops" in entries[1]["exception"]
    assert all(entry["timestamp"].endswith("Z") for entry in entries)


def test_log_text_escapes_line_ends_and_control_sequences() -> None:
    first, *others = logged("info", "text")

    assert r"message='a\nb\x1b[2Jc'" in first
    assert not any("\x1b" in line or "hidden" in line for line in (first, *others))


def test_a_value_that_is_not_json_is_logged_without_its_secrets() -> None:
    code = "import structlog; from gateway.logs import configure; from gateway.core.http.request import Secret\n"
    code += 'configure("info", "json"); structlog.get_logger().info("odd", **VALUES)'
    values = "{'a': 2**70, 'b': '\\udc80', 'c': Secret('hidden'), 'd': [Secret('hidden')]}"

    ran = subprocess.run([sys.executable, "-c", code.replace("VALUES", values)], capture_output=True, text=True)
    one = subprocess.run([sys.executable, "-c", code.replace("VALUES", "{'c': Secret('hidden')}")], capture_output=True)

    entry = json.loads(ran.stderr)
    assert (entry["a"], entry["b"], entry["c"]) == (2**70, "\udc80", "Secret('***')")
    assert json.loads(one.stderr)["c"] == "Secret('***')"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_does_not_show_what_variables_hold(log_format: str) -> None:
    everything = "\n".join(logged("info", log_format))

    assert "ValueError: oops" in everything
    assert "abcabc" not in everything


def test_log_level_hides_lower_levels() -> None:
    assert [json.loads(line)["event"] for line in logged("error", "json")] == ["bug", "of others"]


def test_stalled_log_reader_loses_lines_without_delay() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    filler = fill(writing)
    os.set_blocking(writing, True)
    lines = LogQueue(writing, max_lines=3)
    begin = time.monotonic()
    for number in range(10):
        lines.write(f"{number}\n")
    took_s = time.monotonic() - begin
    dropped = lines.dropped
    with capture_logs() as logs:
        received = read(reading, filler + 2 * (10 - dropped))
        lines.close()

    assert took_s < 1
    assert dropped in (6, 7)  # the thread may have taken one already
    assert received[filler:] == "".join(f"{number}\n" for number in range(10 - dropped)).encode()
    assert logs == [{"event": "log_lines_dropped", "lines": dropped, "log_level": "warning"}]
    os.close(reading)
    os.close(writing)


def fill(pipe: int) -> int:
    size = 0
    with suppress(BlockingIOError):
        while True:
            size += os.write(pipe, b"x")
    return size


def read(pipe: int, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += os.read(pipe, 65536)
    return received


def test_closed_log_reader_is_not_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = LogQueue(writing)
    lines.write("a\n")
    lines.close()
    os.close(writing)

    assert lines.dropped == 1
