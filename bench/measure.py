"""Starts programs on a core, generates load, and reads CPU time from /proc.

CPU times are user plus system time, in seconds, of a process and all its descendants.
"""

import itertools
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.programs import CREDENTIALS, Command, nginx

PROGRAM_CORE, LOAD_CORE = 0, 1
START_TIMEOUT_S = 120.0
PATH = "/zstack/v1/zwatch/metrics"
HEADERS = {"Authorization": f"OAuth {CREDENTIALS['ZSTACK_SESSION']}", "Content-Type": "application/json;charset=UTF-8"}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw. Times in seconds."""

    requests: int
    errors: int
    rate: float
    p50_s: float
    p99_s: float


@contextmanager
def running(command: Command, port: int, core: int, *, log: Path | None = None) -> Iterator[int]:
    """Run a program on a core until the block ends. Yields its process id once the port accepts connections."""
    out = subprocess.DEVNULL if log is None else log.open("wb")
    env = {**os.environ, **CREDENTIALS, **command.env}
    process = subprocess.Popen(
        command.argv, env=env, stdout=out, stderr=out, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    try:
        _wait_for(port, process, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if log is not None:
            out.close()  # type: ignore[union-attr]


def upstream_command(port: int, folder: Path) -> Command:
    """Return the command line of an nginx that accepts every call, and write its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "upstream.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/upstream.pid; error_log {folder}/upstream.log error;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; {temporary}\n"
        "keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 8m;\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;\n"
        """location / { return 200 '{"code":0,"message":"OK"}'; } } }\n"""
    )
    return Command([nginx(), "-c", str(folder / "upstream.conf")])


def run_wrk(port: int, script: Path, *, connections: int, seconds: float) -> Load:
    """Load a program with wrk, on the core of the load generator. `script` is written by `write_script`."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s"]
    argv += ["-s", str(script), f"http://127.0.0.1:{port}{PATH}"]
    done = subprocess.run(
        argv, check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE})
    )
    return parse_wrk(done.stdout)


def parse_wrk(text: str) -> Load:
    """Read the output of wrk. Raises ValueError if a figure is missing or no request was completed."""
    total = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    percentiles = dict(re.findall(r"^ +(\d+)% +([\d.]+(?:us|ms|s|m)) *$", text, re.MULTILINE))
    if total is None or "50" not in percentiles or "99" not in percentiles:
        raise ValueError(f"unexpected output of wrk:\n{text}")
    rejected = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = int(rejected[1]) if rejected else 0
    errors += sum(int(count) for count in broken.groups()) if broken else 0
    requests, seconds = int(total[1]), _seconds(total[2] + total[3])
    if requests == 0:
        raise ValueError("no request was completed")
    p50_s, p99_s = _seconds(percentiles["50"]), _seconds(percentiles["99"])
    return Load(requests, errors, requests / seconds, p50_s, p99_s)


def write_script(path: Path, body: str, headers: Mapping[str, str] = HEADERS) -> Path:
    """Write the wrk script that posts a body."""
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{body}]==]"]
    path.write_text("\n".join([*lines, *(f'wrk.headers["{name}"] = "{text}"' for name, text in headers.items())]))
    return path


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and its living descendants."""
    ticks = 0
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            used[int(entry.name)] = int(fields[11]) + int(fields[12])
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        ticks += used.get(current, 0)
        waiting += children.get(current, [])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10^6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def queued_points(admin_port: int) -> float:
    """Return the number of data points in the queue of a gateway."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("gateway_queue_points{"))


# Below the ports that Linux gives to connections.
_PORTS = itertools.count(20_000 + os.getpid() % 4000, 2)


def free_port() -> int:
    """Return a free port whose next one is free too. No port is returned twice."""
    for port in _PORTS:
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the counter has no end")


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path | None) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            output = log.read_text() if log is not None else ""
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}\n{output}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen at port {port}")


def _seconds(text: str) -> float:
    for unit, factor in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)
