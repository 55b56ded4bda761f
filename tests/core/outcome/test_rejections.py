from typing import Any

import pytest

from gateway.core.http.request import DataPoint
from gateway.core.http.unsigned import Draft
from gateway.core.outcome.classify import Judged, Named
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.outcome.rejections import blame
from gateway.core.points.decode import Item
from gateway.core.sending.encode import Call

FORMS: tuple[Any, ...] = (
    {"metric": "a", "at": 1700000000, "tags": {"host": "x"}},
    {"metric": "b", "at": 1700000000, "tags": {"host": "x"}},
    {"metric": "b", "at": 1700000000, "tags": {"host": "x"}},
    {"metric": "c", "at": 1.5, "tags": ["x", "y"]},
)
REFUSED = failure(Reason.UPSTREAM_REJECTED, "some were refused")


def call() -> Call:
    """Return a call whose items are every second one of the reporter's."""
    items = tuple(Item(at * 2, f"item {at * 2}", DataPoint("m", 0)) for at in range(len(FORMS)))
    return Call("id", Draft("POST", "http", "h", "/"), items, FORMS)


def blamed(*named: Named, outcome: Outcome = REFUSED) -> list[int]:
    return [each.index for each in blame(call(), Judged(outcome, named=named)).rejected]


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
def test_item_is_known_by_what_its_form_holds(same: Any, indices: list[int]):
    assert blamed(Named(None, same, "")) == indices


def test_two_that_are_alike_are_two_items():
    assert blamed(Named(None, {"metric": "b"}, ""), Named(None, {"metric": "b"}, "")) == [2, 4]


def test_item_is_known_by_its_index_in_the_call():
    assert blamed(Named(3, None, ""), Named(0, None, "")) == [0, 6]


@pytest.mark.parametrize(
    "named",
    [
        pytest.param((Named(4, None, ""),), id="index past the end"),
        pytest.param((Named(-1, None, ""),), id="index below zero"),
        pytest.param((Named(None, {}, ""),), id="a form that says nothing"),
        pytest.param((Named(None, {"metric": None, "tags": {"host": None}}, ""),), id="a form of nulls"),
        pytest.param((Named(None, {"at": 1700000000}, ""),), id="a form that fits several unlike ones"),
        pytest.param((Named(1, None, ""), Named(1, None, "")), id="index twice"),
        pytest.param((Named(None, {"metric": "z"}, ""),), id="nothing alike"),
        pytest.param((Named(None, {"metric": "a"}, ""), Named(None, {"metric": "a"}, "")), id="one thing twice"),
        pytest.param((Named(None, {"tags": {"host": "x", "zone": "y"}}, ""),), id="more than any form has"),
        pytest.param((Named(None, {"tags": ["x"]}, ""),), id="shorter list"),
        pytest.param((Named(0, None, ""), Named(9, None, "")), id="one of two is not there"),
    ],
)
def test_item_that_is_not_in_the_call_condemns_each_item_of_the_call(named: tuple[Named, ...]):
    outcome = blame(call(), Judged(REFUSED, named=named))

    assert [(each.index, each.message) for each in outcome.rejected] == [
        (index, "some were refused") for index in (0, 2, 4, 6)
    ]
    assert outcome.accepted == 0


def test_refused_item_has_its_own_words_and_what_the_reporter_sent():
    outcome = blame(call(), Judged(REFUSED, named=(Named(1, None, "too old"), Named(2, None, ""))))

    assert [(each.item, each.message) for each in outcome.rejected] == [
        ("item 2", "too old"),
        ("item 4", "some were refused"),
    ]
    assert outcome.accepted == 2


def test_success_that_names_refused_items_is_none():
    outcome = blame(call(), Judged(Outcome(Code.OK), named=(Named(0, None, "bad"),)))

    assert (outcome.code, outcome.reason, outcome.accepted) == (Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED, 3)


def test_outcome_that_names_nothing_stays():
    assert blame(call(), Judged(REFUSED)) is REFUSED
