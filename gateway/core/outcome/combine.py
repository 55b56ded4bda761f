"""One outcome for a report, from what became of each of its calls."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.outcome.classify import as_seen_by_reporter
from gateway.core.outcome.outcome import CODE_OF, Code, Outcome, Reason, RejectedItem
from gateway.core.points.decode import Item
from gateway.core.points.report import AcceptedReport

RETRYABLE = frozenset({Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL})


Result = tuple[Sequence[Item], Outcome]


def combine_outcomes(
    accepted: AcceptedReport, results: Sequence[Result], refused: Sequence[RejectedItem] = ()
) -> Outcome:
    """Fold what became of items, in B's terms, and those refused on the way, into what the reporter is told.

    All OK is OK; dropped points count as accepted. Otherwise a retryable code wins, else the first in point order.
    """
    outcomes = [(items, as_seen_by_reporter(outcome)) for items, outcome in results]
    rejected = [*accepted.rejected, *refused]
    for items, outcome in outcomes:
        rejected += _rejected_by(items, outcome)
    # One item of the report may have become several data points: it is counted, and told, once.
    rejected = sorted({each.index: each for each in reversed(rejected)}.values(), key=lambda each: each.index)
    total = len({item.index for item in accepted.items}) + len(accepted.rejected) + accepted.dropped
    taken = total - len(rejected)
    if not rejected:
        return Outcome(Code.OK, accepted=taken)
    failed = [outcome for _, outcome in outcomes if not outcome.ok]
    winner = next((outcome for outcome in failed if outcome.code in RETRYABLE), None)
    if winner is None:
        first = rejected[0]
        cause = next((outcome for items, outcome in outcomes if _holds(items, first) and not outcome.ok), None)
        winner = cause or Outcome(CODE_OF[first.reason], first.reason, f"item {first.index}: {first.message}")
    if taken:
        first = rejected[0]
        message = f"{len(rejected)} of {total} items were not taken; the first is item {first.index}: {first.message}"
        winner = replace(winner, reason=Reason.PARTIAL, message=message)
    return replace(winner, accepted=taken, rejected=tuple(rejected))


def _holds(items: Sequence[Item], rejected: RejectedItem) -> bool:
    return any(item.index == rejected.index for item in items)


def _rejected_by(items: Sequence[Item], outcome: Outcome) -> Sequence[RejectedItem]:
    """Return the items that the outcome names, else all of what failed."""
    if outcome.ok or outcome.rejected:
        return outcome.rejected
    reason = outcome.reason or Reason.INTERNAL
    return [RejectedItem(item.index, reason, outcome.message, item.item) for item in items]
