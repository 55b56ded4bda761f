"""The parts of `bench/` that compute: the output of wrk, the table, and the hand-written program's conversion."""

import json

import pytest

from bench.__main__ import Row, report_of, table
from bench.measure import Load, parse_wrk
from bench.programs import PROGRAMS, ROUTE

WRK = """Running 5s test @ http://127.0.0.1:45317/zstack/v1/zwatch/metrics
  1 threads and 256 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   476.29ms  761.40ms   4.85s    89.60%
    Req/Sec   547.16    224.57     1.00k    71.11%
  Latency Distribution
     50%  226.09ms
     75%  318.09ms
     90%    1.30s 
     99%    3.84s 
  2561 requests in 5.00s, 392.65KB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
Requests/sec:    504.81
"""


def test_output_of_wrk_is_parsed_with_its_errors() -> None:
    assert parse_wrk(WRK) == Load(requests=2561, errors=7, rate=512.2, p50_s=0.22609, p99_s=3.84)


@pytest.mark.parametrize("text", ["", WRK.replace("2561 requests", "0 requests"), WRK.replace("99%", "98%")])
def test_run_without_a_result_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_wrk(text)


def test_ratio_is_the_cpu_time_of_the_baseline_by_that_of_the_program() -> None:
    load = Load(100, 0, 1000.0, 0.001, 0.002)

    rows = [Row("gateway", 1, 32, 100.0, 200.0, load, 50.0)]

    assert "| 1 | 32 | gateway | 100 µs | 200 µs | 2.00 | 1000 | 1.0 ms | 2.0 ms | 50 MB | 0 |" in table(rows)


def test_programs_start_from_the_shipped_route() -> None:
    text = ROUTE.read_text()

    assert "delivery: {mode: direct, timeout_s: 5}" in text
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS)


def test_report_has_so_many_points() -> None:
    assert len(json.loads(report_of(50))["params"]["data"]) == 50
