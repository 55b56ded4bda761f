from math import log2

import pytest

from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem, failure
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint
from gateway.core.sending.coalesce import is_rejected_as_whole, max_bisect_calls, merge, outcome_of_part
from gateway.core.sending.encode import Group

REJECTED = failure(Reason.UPSTREAM_REJECTED, "no")


def share(owner: str, *indices: int) -> tuple[str, Group]:
    items = tuple(Item(index, f"{owner}{index}", DataPoint("m", 0)) for index in indices)
    return owner, Group(b"g", {"ns": "n"}, items, tuple(f"form of {owner}{index}" for index in indices))


MERGED = merge([share("a", 0, 3), share("b", 0), share("c", 1, 2)])


def test_items_of_a_batch_are_renumbered():
    assert [(item.index, item.item) for item in MERGED.group.items] == [
        (0, "a0"),
        (1, "a3"),
        (2, "b0"),
        (3, "c1"),
        (4, "c2"),
    ]
    assert MERGED.group.forms[1] == "form of a3"


def test_items_of_a_call_are_split_by_report():
    parts = MERGED.parts(MERGED.group.items[1:4])

    assert [(part.owner, [item.index for item in part.group.items]) for part in parts] == [
        ("a", [3]),
        ("b", [0]),
        ("c", [1]),
    ]
    assert [part.group.forms for part in parts] == [("form of a3",), ("form of b0",), ("form of c1",)]


@pytest.mark.parametrize("outcome", [Outcome(Code.OK), REJECTED], ids=["accepted", "rejected whole"])
def test_outcome_without_rejected_items_applies_to_every_report(outcome: Outcome):
    assert [outcome_of_part(part, outcome) for part in MERGED.parts(MERGED.group.items)] == [outcome] * 3


def test_rejected_items_return_to_their_reports_with_their_own_indices():
    named = tuple(RejectedItem(number, Reason.UPSTREAM_REJECTED, f"no {number}") for number in (1, 4))
    outcome = Outcome(Code.INVALID_ARGUMENT, Reason.UPSTREAM_REJECTED, "no", accepted=3, rejected=named)

    outcomes = [outcome_of_part(part, outcome) for part in MERGED.parts(MERGED.group.items)]

    assert [(each.code, each.accepted, [(one.index, one.message) for one in each.rejected]) for each in outcomes] == [
        (Code.INVALID_ARGUMENT, 1, [(3, "no 1")]),
        (Code.OK, 1, []),
        (Code.INVALID_ARGUMENT, 1, [(2, "no 4")]),
    ]


@pytest.mark.parametrize(
    ("outcome", "whole"),
    [
        pytest.param(REJECTED, True, id="rejected"),
        pytest.param(
            Outcome(Code.INVALID_ARGUMENT, rejected=(RejectedItem(0, Reason.BAD_FIELD, ""),)), False, id="named"
        ),
        pytest.param(failure(Reason.INTERNAL, "no call can be built"), True, id="not even a call"),
        pytest.param(failure(Reason.UPSTREAM_DOWN, ""), False, id="down"),
        pytest.param(Outcome(Code.OK), False, id="taken"),
    ],
)
def test_call_with_rejected_content_is_rejected_as_a_whole(outcome: Outcome, whole: bool):
    assert is_rejected_as_whole(outcome) is whole


@pytest.mark.parametrize("reports", [1, 2, 3, 1000])
def test_number_of_bisecting_calls_is_limited(reports: int):
    assert max_bisect_calls(reports) - 1 < 4 * log2(reports) <= max_bisect_calls(reports)
