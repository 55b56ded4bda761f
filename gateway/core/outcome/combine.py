"""Combine the outcomes of a report's calls into one outcome for the reporter."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.context import AcceptedReport
from gateway.core.outcome.classify import as_seen_by_reporter
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem
from gateway.core.points.decode import Item

RETRYABLE = frozenset({Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL})

Result = tuple[Sequence[Item], Outcome]


def combine_outcomes(
    accepted: AcceptedReport, results: Sequence[Result], rejected: Sequence[RejectedItem] = ()
) -> Outcome:
    """Combine the upstream outcomes of items with the items rejected before, in the report and while encoding.

    If all are OK, the result is OK; dropped points count as accepted. Otherwise a retryable code wins, then the first
    in point order. If some items were accepted, the reason is PARTIAL.
    """
    if not accepted.rejected and not rejected:
        for _, outcome in results:
            if outcome.code is not Code.OK or outcome.rejected:
                break
        else:
            count = len(accepted.items)
            if count > 1:
                count = len({item.index for item in accepted.items})
            return Outcome(Code.OK, None, "", count + accepted.dropped)
    outcomes = [(items, as_seen_by_reporter(outcome)) for items, outcome in results]
    every = [*accepted.rejected, *rejected]
    for items, outcome in outcomes:
        if outcome.rejected or outcome.ok:
            every += outcome.rejected
        else:
            reason = outcome.reason or Reason.INTERNAL
            every += [RejectedItem(item.index, reason, outcome.message, item.item) for item in items]
    # Several data points of one item count once; the first rejection is reported.
    every = sorted({item.index: item for item in reversed(every)}.values(), key=lambda item: item.index)
    total = len({item.index for item in accepted.items}) + len(accepted.rejected) + accepted.dropped
    taken = total - len(every)
    if not every:
        return Outcome(Code.OK, accepted=taken)
    first = every[0]
    failed = [(items, outcome) for items, outcome in outcomes if not outcome.ok]
    retryable = [outcome for _, outcome in failed if outcome.code in RETRYABLE]
    of_first = [outcome for items, outcome in failed if any(item.index == first.index for item in items)]
    if causes := retryable or of_first:
        winner = causes[0]
    else:
        winner = Outcome(first.reason.code, first.reason, f"item {first.index}: {first.message}")
    if taken:
        message = f"{len(every)} of {total} items were rejected; the first is item {first.index}: {first.message}"
        winner = replace(winner, reason=Reason.PARTIAL, message=message)
    return replace(winner, accepted=taken, rejected=tuple(every))
