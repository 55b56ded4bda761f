from dataclasses import replace
from typing import Any

import pytest

from gateway.core.context import AcceptedReport
from gateway.core.outcome.combine import combine_outcomes
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem
from gateway.core.pipeline import ANONYMOUS
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint

OK = Outcome(Code.OK)
REJECTED = Outcome(Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED, "no")
DOWN = Outcome(Code.UNAVAILABLE, Reason.UPSTREAM_DOWN, "down", retry_after_s=7)
THROTTLED = Outcome(Code.RESOURCE_EXHAUSTED, Reason.THROTTLED, "slower")
NOT_OURS = Outcome(Code.UNAUTHENTICATED, Reason.UPSTREAM_AUTH, "who are you")
TOO_LARGE = Reason.TOO_LARGE


def item(index: int) -> Item:
    return Item(index, {"n": index}, DataPoint("cpu", 0, value=1))


def combined(
    *calls: tuple[list[int], Outcome],
    rejected: list[int] | None = None,
    dropped: int = 0,
    too_large: list[int] | None = None,
) -> Outcome:
    results = [(tuple(map(item, at)), outcome) for at, outcome in calls]
    sent = [*(each for items, _ in results for each in items), *map(item, too_large or ())]
    bad = tuple(RejectedItem(index, Reason.BAD_FIELD, "bad", {"n": index}) for index in rejected or ())
    large = [RejectedItem(index, TOO_LARGE, "large", {"n": index}) for index in too_large or ()]
    return combine_outcomes(AcceptedReport(ANONYMOUS, tuple(sent), bad, dropped), results, large)


def summary(outcome: Outcome) -> tuple[Any, ...]:
    return outcome.code, outcome.reason, outcome.accepted, [each.index for each in outcome.rejected]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param(combined(([0], OK), ([1, 2], OK)), (Code.OK, None, 3, []), id="all accepted"),
        pytest.param(combined(), (Code.OK, None, 0, []), id="nothing to send"),
        pytest.param(combined(([0], OK), dropped=2), (Code.OK, None, 3, []), id="dropped points count as accepted"),
        pytest.param(combined(dropped=2), (Code.OK, None, 2, []), id="only dropped points"),
        pytest.param(
            combined(([0, 1], REJECTED)),
            (Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED, 0, [0, 1]),
            id="all rejected",
        ),
        pytest.param(
            combined(([0], OK), ([1], REJECTED)),
            (Code.INVALID_ARGUMENT, Reason.PARTIAL, 1, [1]),
            id="one of two rejected",
        ),
        pytest.param(
            combined(([0, 1, 2], replace(REJECTED, rejected=(RejectedItem(1, Reason.UPSTREAM_REJECTED, "old"),)))),
            (Code.INVALID_ARGUMENT, Reason.PARTIAL, 2, [1]),
            id="one item of a call named",
        ),
        pytest.param(
            combined(([0], REJECTED), ([1], DOWN)),
            (Code.UNAVAILABLE, Reason.UPSTREAM_DOWN, 0, [0, 1]),
            id="a retryable code wins",
        ),
        pytest.param(
            combined(([1], DOWN), ([0], THROTTLED)),
            (Code.UNAVAILABLE, Reason.UPSTREAM_DOWN, 0, [0, 1]),
            id="the first of two retryable calls",
        ),
        pytest.param(
            combined(([0], NOT_OURS)),
            (Code.UNAVAILABLE, Reason.UPSTREAM_AUTH, 0, [0]),
            id="B's troubles with us are not the reporter's fault",
        ),
        pytest.param(
            combined(([0], REJECTED), ([1], NOT_OURS)),
            (Code.UNAVAILABLE, Reason.UPSTREAM_AUTH, 0, [0, 1]),
            id="translated before comparison",
        ),
        pytest.param(
            combined(([1], OK), rejected=[0]),
            (Code.INVALID_ARGUMENT, Reason.PARTIAL, 1, [0]),
            id="rejected while decoding",
        ),
        pytest.param(combined(too_large=[0]), (Code.INVALID_ARGUMENT, TOO_LARGE, 0, [0]), id="too large alone"),
        pytest.param(
            combined(([1], REJECTED), too_large=[0]),
            (Code.INVALID_ARGUMENT, TOO_LARGE, 0, [0, 1]),
            id="first in point order",
        ),
        pytest.param(
            combined(([0], REJECTED), too_large=[1]),
            (Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED, 0, [0, 1]),
            id="first in point order, the other way",
        ),
    ],
)
def test_outcomes_of_calls_are_combined(outcome: Outcome, expected: tuple[Any, ...]):
    assert summary(outcome) == expected


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        pytest.param(combined(([0, 1], REJECTED)), "no", id="all: the upstream message"),
        pytest.param(
            combined(([0], OK), ([1, 2], REJECTED)),
            "2 of 3 items were rejected; the first is item 1: no",
            id="some: the count and the first",
        ),
        pytest.param(
            combined(([2], OK), ([3], DOWN), rejected=[1]),
            "2 of 3 items were rejected; the first is item 1: bad",
            id="the message of the first item, whichever outcome wins",
        ),
        pytest.param(combined(too_large=[4]), "item 4: large", id="one item"),
    ],
)
def test_message_names_the_first_item_and_the_count(outcome: Outcome, message: str):
    assert outcome.message == message


def test_rejected_item_of_several_points_counts_once():
    outcome = combined(([0, 0, 1], OK), ([0, 0], REJECTED), ([2, 2], OK), ([2], DOWN))

    assert summary(outcome) == (Code.UNAVAILABLE, Reason.PARTIAL, 1, [0, 2])
    assert outcome.message == "2 of 3 items were rejected; the first is item 0: no"


def test_item_rejected_by_two_calls_has_the_first_message():
    (rejected,) = combined(([0], REJECTED), ([0], DOWN)).rejected

    assert (rejected.reason, rejected.message) == (Reason.UPSTREAM_REJECTED, "no")


def test_accepted_item_of_several_points_counts_once():
    assert combined(([0, 0], OK), ([0], OK)).accepted == 1


def test_items_of_a_failed_call_are_rejected_with_its_reason_and_message():
    (rejected,) = combined(([0], OK), ([1], DOWN)).rejected

    assert rejected == RejectedItem(1, Reason.UPSTREAM_DOWN, "down", {"n": 1})


def test_retry_after_of_the_winner_is_kept():
    assert combined(([0], REJECTED), ([1], DOWN)).retry_after_s == 7
