"""What reports have in one call: how they are put together, and whose each outcome is afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Generic, TypeVar

from gateway.core.outcome.outcome import Code, Outcome, Reason
from gateway.core.outcome.settlement import settlement_of
from gateway.core.points.decode import Item
from gateway.core.sending.breaker import DOUBTFUL
from gateway.core.sending.encode import Group

Owner = TypeVar("Owner")

NOT_ISOLATED = Outcome(
    Code.UNAVAILABLE,
    Reason.UPSTREAM_REJECTED,
    "it travelled with reports that were refused, and too many were to find out which",
)


@dataclass(frozen=True, slots=True)
class BatchMember(Generic[Owner]):
    """Items of one owner, all of one group."""

    owner: Owner
    group: Group


@dataclass(frozen=True, slots=True)
class CallPart(Generic[Owner]):
    """What of a share travels in one call. `numbers` are those of its items in the call."""

    share: BatchMember[Owner]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch(Generic[Owner]):
    """Shares as one group, whose items are counted through; `places` tell of each which item of which share it is."""

    group: Group
    shares: tuple[BatchMember[Owner], ...]
    places: tuple[tuple[int, int], ...]

    def parts(self, items: Sequence[Item]) -> list[CallPart[Owner]]:
        """Return what of each share is among these of the group's items."""
        positions: dict[int, list[int]] = {}
        numbers: dict[int, list[int]] = {}
        for item in items:
            share, at = self.places[item.index]
            positions.setdefault(share, []).append(at)
            numbers.setdefault(share, []).append(item.index)
        return [
            CallPart(_only(self.shares[share], chosen), tuple(numbers[share])) for share, chosen in positions.items()
        ]


def merge(shares: Sequence[BatchMember[Owner]]) -> Batch[Owner]:
    """Put shares together that may travel together."""
    places = tuple((number, at) for number, share in enumerate(shares) for at in range(len(share.group.items)))
    if len(shares) == 1 and all(item.index == at for at, item in enumerate(shares[0].group.items)):
        return Batch(shares[0].group, tuple(shares), places)
    items = tuple(replace(shares[number].group.items[at], index=index) for index, (number, at) in enumerate(places))
    forms = tuple(form for share in shares for form in share.group.forms)
    return Batch(replace(shares[0].group, items=items, forms=forms), tuple(shares), places)


def outcome_of_part(part: CallPart[Owner], outcome: Outcome) -> Outcome:
    """Return what became of one part of a call, by its own items' indices."""
    if not outcome.rejected:
        return outcome
    own = dict(zip(part.numbers, part.share.group.items, strict=True))
    rejected = tuple(replace(each, index=own[each.index].index) for each in outcome.rejected if each.index in own)
    accepted = len(own) - len(rejected)
    return replace(outcome, rejected=rejected, accepted=accepted) if rejected else Outcome(Code.OK, accepted=accepted)


def _only(share: BatchMember[Owner], positions: Sequence[int]) -> BatchMember[Owner]:
    items, forms = share.group.items, share.group.forms
    kept = replace(share.group, items=tuple(items[at] for at in positions), forms=tuple(forms[at] for at in positions))
    return BatchMember(share.owner, kept)


def is_rejected_as_whole(outcome: Outcome) -> bool:
    """Tell whether it was, or may have been, what the call held that was refused, without a word on which of it."""
    by_content = settlement_of(outcome) == "dead_letter" or (outcome.on_failure is None and outcome.code in DOUBTFUL)
    return by_content and not outcome.rejected


def max_bisect_calls(reports: int) -> int:
    """Return how many calls may follow to find out which of the reports of a refused call are at fault."""
    return ceil(4 * log2(reports)) if reports > 1 else 0
