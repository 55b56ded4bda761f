"""Send the items of several reports in one batch, and split its outcome by report.

The items of a batch are renumbered, because indices of different reports are equal. If an upstream rejects a batch as a
whole, `delivery/dispatch.py` halves it repeatedly to isolate the rejected report.
"""

from collections.abc import Sequence
from dataclasses import field, replace
from math import ceil, log2
from typing import Generic, TypeVar

from gateway.core.outcome.outcome import Code, Outcome, Reason, settlement_of
from gateway.core.points.decode import Item
from gateway.core.record import record
from gateway.core.sending.breaker import DOUBTFUL
from gateway.core.sending.encode import Group

Owner = TypeVar("Owner")

NOT_ISOLATED = Outcome(
    Code.UNAVAILABLE,
    Reason.UPSTREAM_REJECTED,
    "the batch was rejected and the offending report could not be isolated",
)


@record
class CallPart(Generic[Owner]):
    """The items of one member of a batch in one call. `numbers` are their indices in the batch."""

    owner: Owner
    group: Group
    numbers: Sequence[int]


@record
class Batch(Generic[Owner]):
    """Members as one group with renumbered items."""

    group: Group
    members: Sequence[tuple[Owner, Group]]
    _places: list[tuple[int, int]] = field(default_factory=list)  # the member and the position of each item

    def parts(self, items: Sequence[Item]) -> list[CallPart[Owner]]:
        """Return the items of each member among these items of the batch."""
        parts = []
        if len(items) == len(self.group.items):
            start = 0
            for owner, group in self.members:
                end = start + len(group.items)
                parts.append(CallPart(owner, group, range(start, end)))
                start = end
            return parts
        if not self._places:
            for number, (_, group) in enumerate(self.members):
                self._places.extend([(number, at) for at in range(len(group.items))])
        positions: dict[int, list[int]] = {}
        numbers: dict[int, list[int]] = {}
        for item in items:
            member, position = self._places[item.index]
            positions.setdefault(member, []).append(position)
            numbers.setdefault(member, []).append(item.index)
        for member, chosen in positions.items():
            owner, group = self.members[member]
            if len(chosen) < len(group.items):
                own_items, forms = tuple([group.items[at] for at in chosen]), tuple([group.forms[at] for at in chosen])
                group = replace(group, items=own_items, forms=forms)
            parts.append(CallPart(owner, group, numbers[member]))
        return parts


def merge(members: Sequence[tuple[Owner, Group]]) -> Batch[Owner]:
    """Merge groups of one key, each with its owner, into a batch."""
    first = members[0][1]
    every = [item for _, group in members for item in group.items]
    items = tuple([Item(index, item.item, item.point) for index, item in enumerate(every)])
    forms = tuple([form for _, group in members for form in group.forms])
    return Batch(Group(first.key, first.shared, items, forms), members)


def outcome_of_part(part: CallPart[Owner], outcome: Outcome) -> Outcome:
    """Return the outcome of one part of a call, with the item indices of its report."""
    if not outcome.rejected:
        return outcome
    own = dict(zip(part.numbers, part.group.items, strict=True))
    rejected = tuple(replace(item, index=own[item.index].index) for item in outcome.rejected if item.index in own)
    accepted = len(own) - len(rejected)
    return replace(outcome, rejected=rejected, accepted=accepted) if rejected else Outcome(Code.OK, accepted=accepted)


def is_rejected_as_whole(outcome: Outcome) -> bool:
    """Whether the content of a call was, or may have been, rejected without naming items."""
    by_content = settlement_of(outcome) == "dead_letter" or (outcome.on_failure is None and outcome.code in DOUBTFUL)
    return by_content and not outcome.rejected


def max_bisect_calls(reports: int) -> int:
    """Return the maximum number of further calls to isolate rejected reports."""
    return ceil(4 * log2(reports)) if reports > 1 else 0
