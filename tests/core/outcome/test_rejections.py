from typing import Any

import pytest

from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.classify import Classified, RejectedEntry
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.outcome.rejections import map_rejections
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.sending.encode import Call

FORMS: tuple[Any, ...] = (
    {"metric": "a", "at": 1700000000, "tags": {"host": "x"}},
    {"metric": "b", "at": 1700000000, "tags": {"host": "x"}},
    {"metric": "b", "at": 1700000000, "tags": {"host": "x"}},
    {"metric": "c", "at": 1.5, "tags": ["x", "y"]},
)
REJECTED = failure(Reason.UPSTREAM_REJECTED, "some were rejected")


def call() -> Call:
    """Return a call with every second item of the report."""
    items = tuple(Item(at * 2, f"item {at * 2}", DataPoint("m", 0)) for at in range(len(FORMS)))
    return Call("id", UnsignedRequest("POST", "http", "h", "/"), items, FORMS)


def rejected_indices(*named: RejectedEntry, outcome: Outcome = REJECTED) -> list[int]:
    return [each.index for each in map_rejections(call(), Classified(outcome, entries=named)).rejected]


@pytest.mark.parametrize(
    ("same", "indices"),
    [
        pytest.param({"metric": "a"}, [0], id="one member"),
        pytest.param({"metric": "a", "tags": {"host": "x"}}, [0], id="a map within"),
        pytest.param({"metric": "a", "at": "1700000000"}, [0], id="number as text"),
        pytest.param({"metric": "a", "unit": None}, [0], id="null says nothing"),
        pytest.param({"at": 1.5, "tags": ["x", "y"]}, [6], id="a list"),
        pytest.param({"metric": "b"}, [2], id="the first of two alike"),
    ],
)
def test_item_is_found_by_members_of_its_form(same: Any, indices: list[int]):
    assert rejected_indices(RejectedEntry(None, same, "")) == indices


def test_equal_entries_match_equal_items_in_turn():
    assert rejected_indices(RejectedEntry(None, {"metric": "b"}, ""), RejectedEntry(None, {"metric": "b"}, "")) == [
        2,
        4,
    ]


def test_item_is_found_by_its_index_in_the_call():
    assert rejected_indices(RejectedEntry(3, None, ""), RejectedEntry(0, None, "")) == [0, 6]


@pytest.mark.parametrize(
    "named",
    [
        pytest.param((RejectedEntry(4, None, ""),), id="index past the end"),
        pytest.param((RejectedEntry(-1, None, ""),), id="index below zero"),
        pytest.param((RejectedEntry(None, {}, ""),), id="a form that says nothing"),
        pytest.param((RejectedEntry(None, {"metric": None, "tags": {"host": None}}, ""),), id="a form of nulls"),
        pytest.param((RejectedEntry(None, {"at": 1700000000}, ""),), id="a form that fits several unlike ones"),
        pytest.param((RejectedEntry(1, None, ""), RejectedEntry(1, None, "")), id="index twice"),
        pytest.param((RejectedEntry(None, {"metric": "z"}, ""),), id="nothing alike"),
        pytest.param(
            (RejectedEntry(None, {"metric": "a"}, ""), RejectedEntry(None, {"metric": "a"}, "")), id="one thing twice"
        ),
        pytest.param((RejectedEntry(None, {"tags": {"host": "x", "zone": "y"}}, ""),), id="more than any form has"),
        pytest.param((RejectedEntry(None, {"tags": ["x"]}, ""),), id="shorter list"),
        pytest.param((RejectedEntry(0, None, ""), RejectedEntry(9, None, "")), id="one of two is not there"),
    ],
)
def test_unmatched_entry_rejects_all_items_of_the_call(named: tuple[RejectedEntry, ...]):
    outcome = map_rejections(call(), Classified(REJECTED, entries=named))

    assert [(each.index, each.message) for each in outcome.rejected] == [
        (index, "some were rejected") for index in (0, 2, 4, 6)
    ]
    assert outcome.accepted == 0


def test_rejected_item_has_its_own_message_and_the_received_item():
    outcome = map_rejections(
        call(), Classified(REJECTED, entries=(RejectedEntry(1, None, "too old"), RejectedEntry(2, None, "")))
    )

    assert [(each.item, each.message) for each in outcome.rejected] == [
        ("item 2", "too old"),
        ("item 4", "some were rejected"),
    ]
    assert outcome.accepted == 2


def test_success_with_rejected_items_is_a_failure():
    outcome = map_rejections(call(), Classified(Outcome(Code.OK), entries=(RejectedEntry(0, None, "bad"),)))

    assert (outcome.code, outcome.reason, outcome.accepted) == (Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED, 3)


def test_outcome_without_entries_is_unchanged():
    assert map_rejections(call(), Classified(REJECTED)) is REJECTED
