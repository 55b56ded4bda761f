"""Each reporter towards each provider, over real sockets: a gateway, and behind it a vendor that is played."""

import time
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.http.request import Response
from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.outcome.reply import build_reply
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Rule
from gateway.core.vendor.route import Route
from tests.support.pairs import PAIRS, Pair, as_expected, before, expected, running, statements, way
from tests.support.upstream import free_port

every_pair = pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{one}-to-{other}" for one, other in PAIRS])

VALUES = ((1000.25, 1000), (2**53 + 1, 77), (3,))
PLAIN, TOO_MUCH, MOST = ((5,), (99_999,), (7,)), 99_999, 50_000
RECENT_S = 10


@every_pair
async def test_every_data_point_arrives_except_for_the_computed_loss(source: str, target: str) -> None:
    on = way(source, target)
    said = statements(on.route, VALUES, ["space_1", "space_1", "space_2"])

    async with running(on.route) as pair:
        outcome = await pair.report(said)

    wanted = ordered([expected(on, each) for each in said])
    assert (outcome.code, outcome.accepted) == (Code.OK, 3)
    assert [as_expected(*each) for each in zip(ordered(pair.arrived), wanted, strict=True)] == wanted
    assert on.has_time or all(is_recent(point["time_ns"]) for point in pair.arrived)
    answers = pair.watch.answers
    assert [without_date(answer) for answer in answers] == [success(on.route, answer) for answer in answers]


@every_pair
async def test_rejected_call_is_reported_in_the_reporters_dialect(source: str, target: str) -> None:
    route = way(source, target).route
    refusal = Outcome(Code.INVALID_ARGUMENT, Reason.BAD_FIELD, "nobody wants this")

    async with running(route, refusal=refusal) as pair:
        outcome = await pair.report(alike(route))

    assert (outcome.code, pair.arrived) == (Code.INVALID_ARGUMENT, [])
    assert "nobody wants this" in outcome.message


@every_pair
async def test_rejected_item_is_reported_if_both_dialects_can(source: str, target: str) -> None:
    route = way(source, target).route

    async with running(route, rules=[Rule("value", max=MOST)]) as pair:
        outcome = await pair.report(alike(route))

    one = takes_in_part(route)
    told = {each.index for each in outcome.rejected}
    assert outcome.code is Code.INVALID_ARGUMENT
    assert f"{TOO_MUCH} is more than {MOST}" in pair.watch.answers[0].body.decode()
    # As a set: a reporter that declares its metrics repeats once what was refused.
    assert {point["value"] for point in pair.arrived} == ({5, 7} if one else set())
    assert told == {1} if one and names_items(route) else told == {0, 1, 2}
    assert names_items(route) or not one or "1 of 3 items were rejected; the first is item 1: " in outcome.message


@every_pair
async def test_target_that_is_down_is_reported_in_the_reporters_dialect(source: str, target: str) -> None:
    route = way(source, target).route
    hurried = replace(route, target=replace(route.target, timeout_s=0.2))

    async with before(hurried, f"127.0.0.1:{free_port()}") as address:
        outcome = await Pair(route, address).report(alike(route))

    assert outcome.code is Code.UNAVAILABLE


@pytest.mark.parametrize(("target", "most"), [("jdcloud", 50), ("tencent-monitor", 30)])
async def test_report_larger_than_a_call_arrives_in_two(target: str, most: int) -> None:
    route = way("zstack", target).route
    said = statements(route, [(value,) for value in range(most + 1)], ["space_1"] * (most + 1))

    async with running(route) as pair:
        outcome = await pair.report(said)

    assert (outcome.code, outcome.accepted) == (Code.OK, most + 1)
    assert [len(points) for points in pair.calls] == [most, 1]
    assert [point["value"] for point in pair.arrived] == list(range(most + 1))


def alike(route: Route) -> list[DataPoint]:
    """Return data points that travel in one call; the second has too much for some."""
    return statements(route, PLAIN, ["space_1"] * 3)


def takes_in_part(route: Route) -> bool:
    receive = route.target.provider.receive
    return receive is not None and receive.on_bad_item == "reject_item"


def names_items(route: Route) -> bool:
    """Tell whether an answer to the reporter can name items."""
    send = route.source.provider.send
    return send is not None and any(rule.rejected for rule in send.outcome)


def ordered(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(points, key=lambda point: float(point["value"]))


def is_recent(time_ns: int) -> bool:
    return abs(time.time_ns() - time_ns) < RECENT_S * 10**9


def success(route: Route, answer: Response) -> Response:
    """Return what the reporter's vendor answers when all is well, under the id that this answer has."""
    names = {"body": None, "query": {}, "headers": {}, "given": {}, "request": None, "recipe": None, "key": None}
    receive = route.source.receive
    return build_reply(receive.replies, Outcome(Code.OK, accepted=3, request_id=request_id(answer)), names)


def without_date(answer: Response) -> Response:
    """Leave out what HTTP adds of its own."""
    headers = tuple(header for header in answer.headers if header[0].lower() not in ("date", "content-length"))
    return Response(answer.status, headers, answer.body)


def request_id(answer: Response) -> str:
    return next(value for name, value in answer.headers if name.lower() == "x-request-id")
