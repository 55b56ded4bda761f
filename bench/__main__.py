"""`make bench`: run every program under every load, and print a table."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from bench.measure import (
    HEADERS,
    LOAD_CORE,
    PATH,
    PROGRAM_CORE,
    Load,
    cpu_s,
    free_port,
    queued_points,
    resident_mb,
    run_wrk,
    running,
    upstream_command,
    write_script,
)
from bench.programs import CREDENTIALS, PROGRAMS, Command, Place, Program

POINTS = (1, 50)
CONNECTIONS = (32, 256)
WARM_UP_S = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One program under one load: CPU per report of the program and of the baseline, in microseconds; memory in MB."""

    program: str
    points: int
    connections: int
    cpu_us: float
    baseline_us: float
    load: Load
    memory_mb: float


def report_of(points: int, namespace: str = "MyNameSpace") -> str:
    """Return the JSON of a ZStack report."""
    data = [
        {"metricName": f"UserDefinedName{index}", "value": index + 100.01, "labels": {"label1": "value1"}}
        for index in range(points)
    ]
    return json.dumps({"params": {"namespace": namespace, "data": data}})


def check(program: Program, place: Place) -> None:
    """Report once to a stand-in vendor that verifies the signature. Raises RuntimeError if it does not accept it."""
    sink = [sys.executable, "-m", "gateway", "sink", "tencent-receiver", "--listen", f"127.0.0.1:{place.upstream_port}"]
    sink += ["--key", CREDENTIALS["TENCENT_SECRET_ID"], "--secret", "env:TENCENT_SECRET_KEY", "--given", "region=sh"]
    log = place.folder / "sink.jsonl"
    with (
        running(Command(sink), place.upstream_port, LOAD_CORE, log=log),
        running(program.command(place), place.port, PROGRAM_CORE),
    ):
        request = urllib.request.Request(
            f"http://127.0.0.1:{place.port}{PATH}", data=report_of(1).encode(), headers=HEADERS, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            reply = json.loads(answer.read())
        end = time.monotonic() + 10
        while "UserDefinedName0" not in log.read_text() and time.monotonic() < end:
            time.sleep(0.05)
    if reply != {} or "UserDefinedName0" not in log.read_text():
        raise RuntimeError(f"{program.name} answers {reply}, and the vendor received {log.read_text()!r}")


def measure(program: Program, place: Place, baseline: Place, seconds: int) -> Iterator[Row]:
    """Measure a program under every load, second by second in turn with the baseline, each in one process."""
    with (
        running(PROGRAMS[0].command(baseline), baseline.port, PROGRAM_CORE) as baseline_pid,
        running(program.command(place), place.port, PROGRAM_CORE, log=place.folder / "program.log") as pid,
    ):
        for points in POINTS:
            script = write_script(place.folder / f"{points}.lua", report_of(points))
            for connections in CONNECTIONS:
                for port in (baseline.port, place.port):
                    run_wrk(port, script, connections=connections, seconds=WARM_UP_S)
                _drain(program, place)
                loads: list[Load] = []
                used_us, baseline_us, baseline_reports = 0.0, 0.0, 0
                for _ in range(seconds):
                    before = cpu_s(baseline_pid)
                    baseline_reports += run_wrk(baseline.port, script, connections=connections, seconds=1).requests
                    baseline_us += (cpu_s(baseline_pid) - before) * 1e6
                    before = cpu_s(pid)
                    loads.append(run_wrk(place.port, script, connections=connections, seconds=1))
                    _drain(program, place)
                    used_us += (cpu_s(pid) - before) * 1e6
                load = joined(loads)
                cpu_us, base_us = used_us / load.requests, baseline_us / baseline_reports
                yield Row(program.name, points, connections, cpu_us, base_us, load, resident_mb(pid))


def joined(loads: list[Load]) -> Load:
    """Return the sums of the counts, the means of the rate and the median, and the largest 99th percentile."""
    return Load(
        sum(load.requests for load in loads),
        sum(load.errors for load in loads),
        mean(load.rate for load in loads),
        mean(load.p50_s for load in loads),
        max(load.p99_s for load in loads),
    )


def _drain(program: Program, place: Place) -> None:
    """Wait until a queued program has delivered everything: this is part of the work for a report."""
    end = time.monotonic() + 120
    while program.queued and queued_points(place.port + 1) > 0:
        if time.monotonic() > end:
            raise RuntimeError(f"{program.name}: the queue is not empty after two minutes")
        time.sleep(0.1)


def table(rows: list[Row]) -> str:
    """Return the results as a Markdown table. The ratio is the baseline's CPU time by the program's: 2.0 is half."""
    lines = [
        "| points | connections | program | CPU | baseline | ratio | requests/s | p50 | p99 | memory | errors |",
        "|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: (row.points, row.connections)):
        load = row.load
        lines.append(
            f"| {row.points} | {row.connections} | {row.program} | {row.cpu_us:.0f} µs | {row.baseline_us:.0f} µs "
            f"| {row.baseline_us / row.cpu_us:.2f} | {load.rate:.0f} "
            f"| {load.p50_s * 1e3:.1f} ms | {load.p99_s * 1e3:.1f} ms | {row.memory_mb:.0f} MB | {load.errors} |"
        )
    return "\n".join(lines)


@contextmanager
def _upstream(port: int, folder: Path) -> Iterator[None]:
    with running(upstream_command(port, folder), port, LOAD_CORE):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="length of each measurement")
    parser.add_argument("--only", action="append", help="programs whose name contains this text")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        upstream_port = free_port()
        baseline = Place(free_port(), upstream_port, Path(folder))
        chosen = []
        for program in PROGRAMS:
            wanted = arguments.only is None or any(text in program.name for text in arguments.only)
            if not wanted:
                continue
            if program.missing:
                print(f"{program.name}: not measured, {program.missing} is missing", file=sys.stderr)
                continue
            place = Place(free_port(), upstream_port, Path(folder) / str(len(chosen)))
            place.folder.mkdir()
            check(program, place)
            chosen.append((program, place))
        with _upstream(upstream_port, Path(folder) / "upstream"):
            for program, place in chosen:
                try:
                    for row in measure(program, place, baseline, arguments.seconds):
                        what = f"{row.program}, {row.points} points, {row.connections} connections"
                        print(f"{what}: {row.cpu_us:.0f} µs, baseline {row.baseline_us:.0f} µs", file=sys.stderr)
                        rows.append(row)
                except ValueError as error:
                    print(f"{program.name}: not measured further, {error}", file=sys.stderr)
    print(table(rows))


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, subprocess.CalledProcessError, FileNotFoundError) as error:
        sys.exit(f"bench: {error}")
