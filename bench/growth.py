"""`make bench-growth`: how the gateway's cost grows with routes, data points per report and queued data points.

It prints a table and writes the plots to bench/plots/. `--memory-minutes N` measures resident memory under load too.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.__main__ import report_of
from bench.measure import (
    HEADERS,
    LOAD_CORE,
    PATH,
    PROGRAM_CORE,
    cpu_s,
    free_port,
    queued_points,
    resident_mb,
    run_wrk,
    running,
    upstream_command,
    write_script,
)
from bench.programs import BENCH, ROUTE, Place, gateway_command

ROUTES = (1, 100, 2000)
POINTS = (1, 50, 1000)
QUEUED = (1, 10_000, 1_000_000)
CONNECTIONS = 32
PLOTS = BENCH / "plots"

Series = dict[str, list[tuple[float, float]]]


def write_routes(folder: Path, count: int, delivery: str = "{mode: direct, timeout_s: 5, coalesce: false}") -> str:
    """Write this many routes, which differ by host, and return the host of the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    text = ROUTE.read_text().partition("\ncases:")[0]
    text = text.replace("delivery: {mode: direct, timeout_s: 5}", f"delivery: {delivery}")
    for number in range(count):
        route = text.replace("route: zstack-to-tencent", f"route: route-{number}")
        route = route.replace("  provider: zstack\n", f"  provider: zstack\n  match: {{host: host-{number}.example}}\n")
        (folder / f"route-{number}.yaml").write_text(route)
    return f"host-{count - 1}.example"


def measure_routes(folder: Path, upstream_port: int, seconds: float) -> tuple[Series, Series]:
    """Return CPU per report in µs, and seconds from the start of the process to the first answer, by routes."""
    cpu: list[tuple[float, float]] = []
    start: list[tuple[float, float]] = []
    for count in ROUTES:
        place = Place(free_port(), upstream_port, folder / f"routes-{count}")
        host = write_routes(place.folder / "specs", count)
        began = time.monotonic()
        with running(gateway_command(place.folder / "specs", place), place.port, PROGRAM_CORE) as pid:
            post(place.port, 1, host)
            start.append((count, time.monotonic() - began))
            script = write_script(place.folder / "load.lua", report_of(1), {**HEADERS, "Host": host})
            cpu.append((count, cpu_per_report_us(pid, place.port, script, seconds)))
    return {"1 point": cpu}, {"to the first answer": start}


def measure_points(folder: Path, upstream_port: int, seconds: float) -> Series:
    """Return CPU per report in µs by the data points of a report."""
    place = Place(free_port(), upstream_port, folder / "points")
    host = write_routes(place.folder / "specs", 1)
    cpu: list[tuple[float, float]] = []
    with running(gateway_command(place.folder / "specs", place), place.port, PROGRAM_CORE) as pid:
        for points in POINTS:
            script = write_script(place.folder / f"{points}.lua", report_of(points), {**HEADERS, "Host": host})
            cpu.append((points, cpu_per_report_us(pid, place.port, script, seconds)))
    return {"one call per report": cpu}


def measure_queue(folder: Path, seconds: float) -> Series:
    """Return CPU in µs per report stored while so many points are queued, and per point delivered from that queue."""
    stored: list[tuple[float, float]] = []
    delivered: list[tuple[float, float]] = []
    for count in QUEUED:
        place = Place(free_port(), free_port(), folder / f"queue-{count}")
        host = write_routes(place.folder / "specs", 1, "{mode: queued, timeout_s: 5}")
        command = gateway_command(
            place.folder / "specs", place, "--data", str(place.folder / "data"), "--queue-max-points", "10000000"
        )
        with running(command, place.port, PROGRAM_CORE) as pid:
            for first in range(0, count, 1000):  # nothing listens at the upstream's port yet
                post(place.port, min(1000, count - first), host)
            script = write_script(place.folder / "load.lua", report_of(1), {**HEADERS, "Host": host})
            stored.append((count, cpu_per_report_us(pid, place.port, script, seconds)))
            before, waiting = cpu_s(pid), queued_points(place.port + 1)
            with running(upstream_command(place.upstream_port, place.folder / "nginx"), place.upstream_port, LOAD_CORE):
                while queued_points(place.port + 1) > 0:
                    time.sleep(0.5)
            delivered.append((count, (cpu_s(pid) - before) * 1e6 / waiting))
    return {"per report stored": stored, "per point delivered": delivered}


def measure_memory(folder: Path, upstream_port: int, minutes: float) -> Series:
    """Return resident memory in MB by minutes of load with 1 and 50 points in turn."""
    place = Place(free_port(), upstream_port, folder / "memory")
    host = write_routes(place.folder / "specs", 1)
    samples: list[tuple[float, float]] = []
    with running(gateway_command(place.folder / "specs", place), place.port, PROGRAM_CORE) as pid:
        scripts = [write_script(place.folder / f"{n}.lua", report_of(n), {**HEADERS, "Host": host}) for n in (1, 50)]
        began, stop = time.monotonic(), threading.Event()

        def sample() -> None:
            while not stop.wait(1):
                samples.append(((time.monotonic() - began) / 60, resident_mb(pid)))

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            while time.monotonic() - began < minutes * 60:
                for script in scripts:
                    run_wrk(place.port, script, connections=256, seconds=5)
        finally:
            stop.set()
            thread.join()
    return {"resident": samples}


def post(port: int, points: int, host: str) -> None:
    """Post one report. Raises RuntimeError unless it is accepted."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{PATH}", report_of(points).encode(), {**HEADERS, "Host": host}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"a report was rejected: {error.read().decode()}") from error


def cpu_per_report_us(pid: int, port: int, script: Path, seconds: float) -> float:
    run_wrk(port, script, connections=CONNECTIONS, seconds=1)
    before = cpu_s(pid)
    load = run_wrk(port, script, connections=CONNECTIONS, seconds=seconds)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {load.requests} reports failed")
    return (cpu_s(pid) - before) * 1e6 / load.requests


def plot(name: str, title: str, x: str, y: str, series: Series, *, log: bool = True) -> None:
    """Write bench/plots/NAME.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for label, values in series.items():
        axes.plot(*zip(*values, strict=True), marker="o" if len(values) < 10 else "", label=label)
    if log:
        axes.set_xscale("log")
    axes.set(title=title, xlabel=x, ylabel=y, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / f"{name}.png", dpi=120)
    pyplot.close(figure)


def show(title: str, unit: str, series: Series) -> None:
    """Print a series as lines of a Markdown table, with the ratio to its first value."""
    for label, values in series.items():
        for x, y in values:
            print(f"| {title} | {label} | {x:g} | {y:.3g} {unit} | {y / values[0][1]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="length of each measurement")
    parser.add_argument("--memory-minutes", type=float, default=0, help="length of the memory measurement")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder, upstream_port = Path(name), free_port()
        print("| by | series | number | result | ratio to the first |\n|---|---|--:|--:|--:|")
        with running(upstream_command(upstream_port, folder / "upstream"), upstream_port, LOAD_CORE):
            cpu, start = measure_routes(folder, upstream_port, arguments.seconds)
            show("routes", "µs", cpu)
            show("routes", "s", start)
            plot("routes", "CPU time by number of routes", "routes", "µs per report", cpu)
            plot("start", "Start by number of routes", "routes", "s to the first answer", start)
            points = measure_points(folder, upstream_port, arguments.seconds)
            show("points per report", "µs", points)
            plot("points", "CPU time by data points", "data points per report", "µs per report", points)
            if arguments.memory_minutes:
                memory = measure_memory(folder, upstream_port, arguments.memory_minutes)
                half = [mb for minute, mb in memory["resident"] if minute > arguments.memory_minutes / 2]
                print(f"| memory | second half | {len(half)} samples | {min(half):.1f} to {max(half):.1f} MB | |")
                plot("memory", "Resident memory under load", "minutes", "MB", memory, log=False)
        queue = measure_queue(folder, arguments.seconds)
        show("queued points", "µs", queue)
        plot("queue", "CPU time by queued data points", "queued data points", "µs", queue)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, subprocess.CalledProcessError, FileNotFoundError) as error:
        sys.exit(f"bench: {error}")
