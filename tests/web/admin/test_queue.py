"""The admin API of the queue, over real sockets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.vendor.route import Route
from tests.support.caller import Reply
from tests.support.gateway import KEY, TAKEN, Running, datum, raw_report, running, says
from tests.support.upstream import Behaviour, in_turn

ROUTE = "zstack-to-tencent"
REFUSES = says(1009, "no such namespace")


def queued(route: Route) -> Route:
    return replace(route, target=replace(route.target, queued=True)) if route.name == ROUTE else route


@asynccontextmanager
async def queueing(folder: Path, behaviour: Behaviour, *metrics: str) -> AsyncIterator[Running]:
    """Run a gateway that has taken over a report of each metric, and wait until it has tried to deliver them."""
    async with running(behaviour, change=queued, data=folder) as gateway:
        for metric in metrics:
            await gateway.send(raw_report(datum(metricName=metric)))
        async with asyncio.timeout(10):
            while (depth := await depth_of(gateway)) and depth["queued"] + depth["leased"]:
                await asyncio.sleep(0.01)
        yield gateway


async def depth_of(gateway: Running) -> dict[str, Any]:
    targets = (await gateway.probe("/api/queue")).json["targets"]
    return dict(targets[0]) if targets else {}


async def points(gateway: Running, query: str = "") -> list[dict[str, Any]]:
    return list((await gateway.probe(f"/api/queue/points{query}")).json["points"])


async def change(gateway: Running, what: str, body: object) -> Reply:
    return await gateway.probe(f"/api/queue/{what}", "POST", "X-Gateway-Admin: 1", body=json.dumps(body))


async def test_the_queue_reports_its_depth_per_target(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b") as gateway:
        state = (await gateway.probe("/api/queue")).json

    [depth] = state["targets"]
    assert state["failure"] is None
    assert depth.pop("bytes") > 0
    assert depth == {
        "route": ROUTE,
        "target": "send",
        "queued": 0,
        "leased": 0,
        "dead_letter": 2,
        "oldest_s": None,
        "attempts": 0,
        "reason": None,
        "message": None,
        "next_attempt": None,
    }


async def test_a_failing_target_has_error_attempts_and_next_attempt(tmp_path: Path) -> None:
    async with running(says(1006, f"try later, {KEY}"), change=queued, data=tmp_path) as gateway:
        await gateway.send(raw_report(datum(metricName="a")))
        async with asyncio.timeout(10):
            while not (depth := await depth_of(gateway))["attempts"]:
                await asyncio.sleep(0.01)
        [point] = await points(gateway)
        [target] = (await gateway.probe("/api/targets")).json["targets"]

    assert (depth["attempts"], depth["reason"], depth["message"]) == (1, "THROTTLED", "try later, ***")
    assert (point["attempts"], point["reason"], point["message"]) == (1, "THROTTLED", "try later, ***")
    assert (target["attempts"], target["reason"], target["message"]) == (1, "THROTTLED", "try later, ***")
    assert depth["next_attempt"] == point["next_attempt"]
    assert -1 < point["next_attempt"] - time.time() < 2
    assert 0 <= target["next_attempt_in_s"] < 2


async def test_a_dead_letter_is_shown_with_its_reason(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES, "a") as gateway:
        [point] = await points(gateway)

    assert (point["route"], point["target"], point["state"]) == (ROUTE, "send", "dead_letter")
    assert (point["reason"], point["message"]) == ("UPSTREAM_REJECTED", "no such namespace")
    assert (point["point"]["metric"], point["point"]["value"]) == ("a", 1)
    assert point["received"] > 1_700_000_000


@pytest.mark.parametrize(
    ("query", "metrics"),
    [
        ("", ["a", "b", "c"]),
        ("?state=dead_letter&target=send", ["a", "b", "c"]),
        ("?state=queued", []),
        ("?route=another", []),
        ("?target=another", []),
        ("?reason=UPSTREAM_REJECTED", ["a", "b", "c"]),
        ("?reason=TOO_OLD", []),
        ("?limit=2", ["a", "b"]),
        ("?after=1&limit=9999", ["b", "c"]),
    ],
)
async def test_points_are_listed_by_filter_and_page(tmp_path: Path, query: str, metrics: list[str]) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b", "c") as gateway:
        listed = await points(gateway, query)

    assert [each["point"]["metric"] for each in listed] == metrics


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("points?state=lost", 400, "unknown state 'lost'; known: queued, leased, dead_letter"),
        ("points?limit=-1", 400, "limit: '-1' is not a whole number"),
        ("points?after=1234567890123456789", 400, "is not a whole number"),
        ("point", 400, "id is missing"),
        ("point?id=77", 404, "the queue holds no data point 77"),
    ],
)
async def test_an_invalid_query_is_rejected(tmp_path: Path, path: str, status: int, said: str) -> None:
    async with queueing(tmp_path, TAKEN) as gateway:
        reply = await gateway.probe(f"/api/queue/{path}")

    assert reply.status == status
    assert said in reply.json["message"]


async def test_points_are_counted_by_filter(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b") as gateway:
        dead = await gateway.probe("/api/queue/count?state=dead_letter")
        queued = await gateway.probe("/api/queue/count?state=queued")

    assert (dead.json, queued.json) == ({"points": 2}, {"points": 0})


async def test_one_point_is_returned_by_its_id(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b") as gateway:
        reply = await gateway.probe("/api/queue/point?id=2")

    assert reply.json["point"]["metric"] == "b"


@pytest.mark.parametrize(
    "body", [{"ids": [1]}, {"state": "dead_letter"}, {"state": "dead_letter", "route": ROUTE}], ids=str
)
async def test_a_retried_point_is_delivered_immediately(tmp_path: Path, body: object) -> None:
    async with queueing(tmp_path, in_turn(REFUSES, TAKEN), "a") as gateway:
        reply = await change(gateway, "retry", body)
        async with asyncio.timeout(2):  # without being woken, the worker looks every 5 s
            while await points(gateway):
                await asyncio.sleep(0.01)

    assert reply.json == {"points": 1}
    assert len(gateway.upstream.received) == 2


@pytest.mark.parametrize(
    ("body", "dropped", "left"),
    [
        ({"ids": [2, 77]}, 1, [1, 3]),
        ({"ids": []}, 0, [1, 2, 3]),
        ({"state": "dead_letter"}, 3, []),
        ({"state": "dead_letter", "target": "another"}, 0, [1, 2, 3]),
        ({"state": "queued"}, 0, [1, 2, 3]),
        ({"state": "dead_letter", "reason": "TOO_OLD"}, 0, [1, 2, 3]),
        ({"state": "dead_letter", "reason": "UPSTREAM_REJECTED", "limit": 2}, 2, [3]),
    ],
    ids=str,
)
async def test_dropping_removes_the_selected_points_only(
    tmp_path: Path, body: object, dropped: int, left: list[int]
) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b", "c") as gateway:
        reply = await change(gateway, "drop", body)
        there = [each["id"] for each in await points(gateway)]

    assert reply.json == {"points": dropped}
    assert there == left


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"route": ROUTE},
        {"ids": [1], "state": "dead_letter"},
        {"ids": [1], "target": "send"},
        {"state": "dead_letter", "rout": "another"},
        {"state": "lost"},
        {"ids": ["1"]},
    ],
    ids=str,
)
async def test_an_ambiguous_change_is_rejected(tmp_path: Path, body: object) -> None:
    async with queueing(tmp_path, REFUSES, "a") as gateway:
        reply = await change(gateway, "drop", body)
        there = await points(gateway)

    assert (reply.status, len(there)) == (400, 1)


@pytest.mark.parametrize("path", ["", "/points", "/point?id=1"])
async def test_without_a_queue_the_paths_return_404(path: str) -> None:
    async with running() as gateway:
        reply = await gateway.probe(f"/api/queue{path}")

    assert (reply.status, reply.json["code"]) == (404, "NOT_FOUND")
    assert "serve was started without --data DIR" in reply.json["message"]


async def test_a_route_lists_its_mode_and_mirrors(tmp_path: Path) -> None:
    def mirrored(route: Route) -> Route:
        return replace(queued(route), mirrors=(replace(route.target, name="copy"),))

    async with running(change=mirrored, data=tmp_path) as gateway:
        [route] = [each for each in (await gateway.probe("/api/routes")).json["routes"] if each["name"] == ROUTE]

    assert route["mode"] == "queued"
    assert route["mirrors"] == [
        {"name": "copy", "target": "tencent-receiver", "host": gateway.upstream.host, "mode": "direct"}
    ]


async def test_metrics_count_stored_points(tmp_path: Path) -> None:
    async with queueing(tmp_path, REFUSES, "a", "b") as gateway:
        dead = await gateway.counted("gateway_queue_points", route=ROUTE, target="send", state="dead_letter")
        waiting = await gateway.counted("gateway_queue_points", route=ROUTE, target="send", state="queued")
        size = await gateway.counted("gateway_queue_bytes", route=ROUTE, target="send")
        oldest_s = await gateway.counted("gateway_queue_oldest_seconds", route=ROUTE)
        failing = await gateway.counted("gateway_queue_failing")

    assert (dead, waiting, oldest_s, failing) == (2, 0, 0, 0)
    assert size > 0


async def test_damaged_files_in_the_data_folder_are_named_and_counted(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"?" * 5000)
    async with running(change=queued, data=tmp_path) as gateway:
        [name] = (await gateway.probe("/api/queue")).json["damaged_files"]
        count = await gateway.counted("gateway_queue_damaged_files")
        (tmp_path / name).unlink()
        later = await gateway.counted("gateway_queue_damaged_files")

    assert name.startswith("queue.damaged-")
    assert (count, later) == (1, 0)


async def test_metrics_have_the_age_of_the_oldest_point(tmp_path: Path) -> None:
    async with running(says(1011), change=queued, data=tmp_path) as gateway:
        await gateway.send(raw_report())
        await asyncio.sleep(0.05)
        oldest_s = await gateway.counted("gateway_queue_oldest_seconds", route=ROUTE)

    assert 0.05 <= oldest_s < 5


async def test_metrics_name_a_paused_target_by_route_and_not_by_address(tmp_path: Path) -> None:
    async with running(says(1011), change=queued, data=tmp_path) as gateway:
        before = await gateway.counted("gateway_target_paused", route=ROUTE, target="send")
        await gateway.send(raw_report())
        async with asyncio.timeout(5):
            while not (paused := await gateway.counted("gateway_target_paused", route=ROUTE, target="send")):
                await asyncio.sleep(0.01)
        text = (await gateway.probe("/metrics")).text

    assert (before, paused) == (0, 1)
    assert gateway.upstream.host not in text
