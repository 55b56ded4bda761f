"""gateway queue, on the data folder of a stopped gateway and over the admin port of a running one."""

import asyncio
import os
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.core.http.request import Secret
from gateway.core.outcome.outcome import Reason
from gateway.core.points.point import DataPoint
from gateway.delivery.queue import Destination, NewPoint, Store
from gateway.logs import forwarding
from tests.support.gateway import TAKEN, Running, running
from tests.support.terminal import Ended, run
from tests.support.upstream import in_turn
from tests.web.admin.test_queue import REFUSES, ROUTE, queued, queueing

A, B = Destination("acme-to-zeta", "send"), Destination("beta-to-zeta", "copy")
RECEIVED_NS = 1_700_000_000_000_000_000


def new(destination: Destination, metric: str, index: int = 0) -> NewPoint:
    point = DataPoint(metric, RECEIVED_NS, namespace="n", value=2**63, attributes={"host": "a"})
    return NewPoint(destination=destination, report_id="r1", item=index, received_ns=RECEIVED_NS, point=point)


async def fill(folder: Path) -> None:
    """Leave four points: 1 and 2 of A are dead-lettered, 3 of A is queued, 4 of B is dead-lettered."""
    store = await Store.open(folder)
    await store.append([new(A, "one"), new(A, "two"), new(A, "three"), new(B, "four")])
    store.dead_letter([1, 2], Reason.UPSTREAM_REJECTED, "no such\nnamespace | " + "x" * 100)
    store.dead_letter([4], Reason.ROUTE_GONE, "no route")
    await store.state()
    await store.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    asyncio.run(fill(tmp_path))
    return tmp_path


def ids(folder: Path) -> list[int]:
    return [int(line.partition(":")[2].partition(",")[0]) for line in listed(folder).output.splitlines()]


def listed(folder: Path, *options: object) -> Ended:
    return run("queue", "list", "--json", "--data", folder, *options)


# Of a stopped gateway.


def test_show_warns_of_a_damaged_file(data: Path) -> None:
    (data / "queue.damaged-T.db").touch()

    ended = run("queue", "show", "--data", data)

    assert ended.code == 0
    assert "queue.damaged-T.db in the data folder is damaged" in ended.errors


def test_list_is_a_table_with_a_line_for_each_point(data: Path) -> None:
    ended = run("queue", "list", "--data", data)

    assert (ended.code, ended.errors) == (0, "")
    head, _, first, _, third, last = ended.output.splitlines()
    assert head.replace(" ", "") == "|id|state|route|target|age|attempts|nextattempt|metric|reason|"
    assert first.startswith("| 1  | dead_letter | acme-to-zeta | send   |")
    assert "| one    | UPSTREAM_REJECTED: no such namespace" in first
    assert first.endswith("… |")
    assert third.startswith("| 3  | queued      | acme-to-zeta | send   |")
    assert last.startswith("| 4  | dead_letter | beta-to-zeta | copy   |")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], [1, 2, 3, 4]),
        (["--point-state", "dead_letter"], [1, 2, 4]),
        (["--route", "acme-to-zeta", "--point-state", "dead_letter"], [1, 2]),
        (["--target", "copy"], [4]),
        (["--reason", "ROUTE_GONE"], [4]),
        (["--limit", "2"], [1, 2]),
        (["--route", "nope"], []),
    ],
    ids=str,
)
def test_list_applies_its_filters(data: Path, options: list[str], found: list[int]) -> None:
    ended = listed(data, *options)

    assert ended.code == 0
    assert [f'{{"id":{each},' for each in found] == [line[: line.index(",") + 1] for line in ended.output.splitlines()]


def test_list_warns_of_further_points(data: Path) -> None:
    assert listed(data, "--limit", "2").errors == "warning: 2 of 4 data points; --limit shows more\n"


def test_json_has_the_data_point_as_it_is_stored(data: Path) -> None:
    point = run("queue", "show", "3", "--json", "--data", data).json

    assert point["point"]["value"] == 2**63
    assert (point["id"], point["state"], point["reason"]) == (3, "queued", None)


def test_show_prints_all_fields_of_a_point(data: Path) -> None:
    lines = run("queue", "show", "4", "--data", data).output.splitlines()

    assert lines[0] == "── data point 4"
    assert "route     beta-to-zeta, target copy" in lines
    assert "reason    ROUTE_GONE: no route" in lines
    assert any(line.startswith("received  2023-11-14 22:13:20 UTC, ") for line in lines)
    assert '"attributes":{"host":"a"}' in lines[-1]


def test_show_without_an_id_prints_a_row_for_each_target(data: Path) -> None:
    lines = run("queue", "show", "--data", data).output.splitlines()

    assert [line.replace(" ", "").split("|")[1:6] for line in lines[2:]] == [
        ["acme-to-zeta", "send", "1", "0", "2"],
        ["beta-to-zeta", "copy", "0", "0", "1"],
    ]


def test_list_and_show_print_the_last_error_and_the_next_attempt(tmp_path: Path) -> None:
    asyncio.run(fail_twice(tmp_path))

    listed = run("queue", "list", "--data", tmp_path).output.splitlines()[-1].replace(" ", "").split("|")
    target = run("queue", "show", "--data", tmp_path).output.splitlines()[-1].replace(" ", "").split("|")
    shown = run("queue", "show", "1", "--data", tmp_path).output

    assert listed[6:10] == ["2", "in1h", "m", "UPSTREAM_DOWN:connectionrefused"]
    assert target[-4:-1] == ["2", "in1h", "UPSTREAM_DOWN:connectionrefused"]
    assert "reason        UPSTREAM_DOWN: connection refused\n" in shown
    assert "attempts      2\nnext attempt  20" in shown


async def fail_twice(folder: Path) -> None:
    """Leave a point whose second attempt failed, and that is sent again in an hour and a half."""
    store = await Store.open(folder)
    await store.append([new(A, "m")])
    for wait_s in (0, 5_400):
        now_ns = time.time_ns()
        await store.lease(A, 1, now_ns)
        store.retry_later([1], now_ns + wait_s * 1_000_000_000, Reason.UPSTREAM_DOWN, "connection refused")
        await store.state()
    await store.close()


def test_retried_points_are_queued_again(data: Path) -> None:
    ended = run("queue", "retry", "--route", "acme-to-zeta", "--data", data)

    assert (ended.code, ended.output) == (0, "2 data points made due\n")
    assert ids_in(data, "queued") == [1, 2, 3]


def test_dropped_points_are_gone(data: Path) -> None:
    ended = run("queue", "drop", "1", "4", "--data", data, "--json")

    assert (ended.code, ended.output) == (0, '{"points":2}\n')
    assert ids(data) == [2, 3]


def test_drop_by_a_filter_needs_a_yes(data: Path) -> None:
    ended = run("queue", "drop", "--point-state", "dead_letter", "--data", data)

    assert (ended.code, ended.output) == (1, "")
    assert ended.complaint == "gateway: this would delete 3 data points; to do it, give --yes"
    assert ids(data) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--point-state", "dead_letter"], [3]),
        (["--route", "acme-to-zeta"], [3, 4]),
        (["--reason", "UPSTREAM_REJECTED"], [3, 4]),
        (["--route", "acme-to-zeta", "--point-state", "queued"], [1, 2, 4]),
        (["--point-state", "dead_letter", "--limit", "1"], [2, 3, 4]),
    ],
    ids=str,
)
def test_drop_by_a_filter_drops_matching_points(data: Path, options: list[str], left: list[int]) -> None:
    ended = run("queue", "drop", *options, "--yes", "--data", data)

    assert ended.code == 0
    assert ids(data) == left


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_unknown_id_exits_1(data: Path, command: str) -> None:
    ended = run("queue", command, "1", "77", "--data", data)

    assert ended.code == 1
    assert ended.errors.startswith("warning: 1 of the ids: the data point does not exist")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["drop"], 2, "name the ids, or filter by --route, --target, --reason or --point-state"),
        (["drop", "--yes"], 2, "name the ids, or filter by --route, --target, --reason or --point-state"),
        (["retry", "1", "--point-state", "dead_letter"], 2, "name the ids, or filter by "),
        (["list", "--point-state", "lost"], 2, "invalid value for '--point-state'"),
        (["drop", "0"], 2, "invalid value for '"),
        (
            ["list", "--data", "x", "--admin", "http://h"],
            2,
            "--data and --admin: give --admin for a running gateway",
        ),
        (["list", "--data", "/nope"], 1, "--data: /nope contains no queue"),
        (["list", "--admin", "h:1"], 2, "--admin: 'h:1': this is not a URL"),
        (["list", "--admin", "http://127.0.0.1:1"], 1, "--admin: 127.0.0.1:1: connection refused; for the queue of a "),
        (["list", "--admin-token", "env:NOPE"], 1, "--admin-token: the environment variable 'NOPE' is not set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ended = run("queue", *arguments)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")


def test_list_does_not_create_the_folder(tmp_path: Path) -> None:
    run("queue", "list", "--data", tmp_path / "typo")

    assert not (tmp_path / "typo").exists()


def test_unknown_point_cannot_be_shown(data: Path) -> None:
    ended = run("queue", "show", "77", "--data", data)

    assert (ended.code, ended.complaint) == (1, "gateway: --data: the queue holds no data point 77")


def test_an_empty_list_says_so(data: Path) -> None:
    assert run("queue", "list", "--target", "nope", "--data", data).output == "no data point is stored that matches\n"


# Of a live one.


async def ask(gateway: Running, *arguments: str, **environ: str) -> Ended:
    return await run_queue(*arguments, "--admin", f"http://{gateway.gateway.admin_address}", **environ)


async def run_queue(*arguments: str, **environ: str) -> Ended:
    """Run the command in a thread. The log of the gateway in this process must not mix with what it prints."""
    with forwarding(lambda event: None), patch.dict(os.environ, environ):
        return await asyncio.to_thread(run, "queue", *arguments)


async def test_running_gateway_is_asked_over_its_admin_port(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b") as gateway:
        ended = await ask(gateway, "show", "2", "--json")

    assert ended.json["point"]["metric"] == "b"


async def test_running_gateway_delivers_retried_points(tmp_path: Path) -> None:
    async with queueing(tmp_path, in_turn(REFUSES, TAKEN), "a") as gateway:
        ended = await ask(gateway, "retry", "--point-state", "dead_letter")
        async with asyncio.timeout(5):
            while not (await ask(gateway, "list")).output.startswith("no data point"):
                await asyncio.sleep(0.05)

    assert ended.output == "1 data point made due\n"


async def test_points_of_a_running_gateway_are_listed_and_dropped(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b", "c") as gateway:
        listed = await ask(gateway, "list", "--reason", "UPSTREAM_REJECTED", "--limit", "2", "--json")
        by_id = await ask(gateway, "drop", "1")
        unconfirmed = await ask(gateway, "drop", "--route", ROUTE)
        by_route = await ask(gateway, "drop", "--route", ROUTE, "--yes")

    assert len(listed.output.splitlines()) == 2
    assert listed.errors == "warning: 2 of 3 data points; --limit shows more\n"
    assert by_id.output == "1 data point dropped\n"
    assert unconfirmed.complaint == "gateway: this would delete 2 data points; to do it, give --yes"
    assert by_route.output == "2 data points dropped\n"


async def test_folder_of_a_running_gateway_is_not_opened(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES):
        ended = await run_queue("list", "--data", str(tmp_path))

    assert ended.code == 1
    assert ended.complaint == (
        f"gateway: --data: {tmp_path}: another gateway holds this data folder (process {os.getpid()}); "
        "to query that gateway, give --admin URL"
    )


@pytest.mark.parametrize(("token", "code"), [("hush", 0), ("husk", 1)])
async def test_token_comes_from_the_environment(tmp_path: Path, token: str, code: int) -> None:
    async with running(change=queued, data=tmp_path, admin_token=Secret("hush")) as gateway:
        ended = await ask(gateway, "show", GATEWAY_ADMIN_TOKEN=token)

    assert ended.code == code
    assert ("gateway: --admin: the admin API requires the header Authorization" in ended.errors) is bool(code)


async def test_running_gateway_without_a_queue_is_reported() -> None:
    async with running() as gateway:
        ended = await ask(gateway, "list")

    assert (ended.code, ended.complaint) == (
        1,
        "gateway: --admin: this gateway keeps no queue: serve was started without --data DIR",
    )


async def test_url_of_another_server_is_reported(tmp_path: Path) -> None:
    async with running() as gateway:
        ended = await run_queue("list", "--admin", gateway.upstream.url)

    assert ended.code == 1
    assert "does not answer as a gateway's admin port does" in ended.complaint


# Many.


async def fill_with(folder: Path, number: int) -> None:
    store = await Store.open(folder)
    await store.append([new(A, "m", index) for index in range(number)])
    await store.close()


def test_more_than_a_page_is_listed_and_changed(tmp_path: Path) -> None:
    asyncio.run(fill_with(tmp_path, 2100))

    found = listed(tmp_path, "--limit", "2050").output.splitlines()
    ended = run("queue", "drop", "--point-state", "queued", "--limit", "2099", "--yes", "--data", tmp_path)

    assert len(found) == 2050
    assert ended.output == "2099 data points dropped\n"
    assert ids(tmp_path) == [2100]


def ids_in(folder: Path, state: str) -> list[int]:
    lines = listed(folder, "--point-state", state).output.splitlines()
    return [int(line.partition(":")[2].partition(",")[0]) for line in lines]
