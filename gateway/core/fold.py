"""One outcome for a report, from what became of each of its calls."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.core.accept import Accepted
from gateway.core.encode import Call
from gateway.core.judge import told
from gateway.core.model import Secret
from gateway.core.outcome import CODE_OF, Code, Outcome, Reason, Rejected

RETRYABLE = frozenset({Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL})


def fold(accepted: Accepted, results: Sequence[tuple[Call, Outcome]], refused: Sequence[Rejected] = ()) -> Outcome:
    """Fold the outcomes of calls, in B's terms, and the items refused on the way, into what the reporter is told.

    All OK is OK; dropped points count as accepted. Otherwise a retryable code wins, else the first in point order.
    """
    outcomes = [(call, told(outcome)) for call, outcome in results]
    rejected = [*accepted.rejected, *refused]
    for call, outcome in outcomes:
        rejected += _rejected_by(call, outcome)
    rejected.sort(key=lambda each: each.index)
    total = len(accepted.items) + len(accepted.rejected) + accepted.dropped
    taken = total - len(rejected)
    if not rejected:
        return Outcome(Code.OK, accepted=taken)
    failed = [outcome for _, outcome in outcomes if not outcome.ok]
    winner = next((outcome for outcome in failed if outcome.code in RETRYABLE), None)
    if winner is None:
        first = rejected[0]
        cause = next((outcome for call, outcome in outcomes if _holds(call, first) and not outcome.ok), None)
        winner = cause or Outcome(CODE_OF[first.reason], first.reason, f"item {first.index}: {first.message}")
    if taken:
        message = (
            f"{len(rejected)} of {total} items were not taken; the first is item {rejected[0].index}: {winner.message}"
        )
        winner = replace(winner, reason=Reason.PARTIAL, message=message)
    return replace(winner, accepted=taken, rejected=tuple(rejected))


def mask(outcome: Outcome, secrets: Iterable[Secret]) -> Outcome:
    """Replace each secret in the outcome's messages: an upstream may quote what we sent it."""
    texts = [secret.reveal() for secret in secrets]

    def masked(message: str) -> str:
        for text in texts:
            message = message.replace(text, "***") if text else message
        return message

    if not any(text and text in outcome.message for text in texts) and not outcome.rejected:
        return outcome
    rejected = tuple(replace(each, message=masked(each.message)) for each in outcome.rejected)
    return replace(outcome, message=masked(outcome.message), rejected=rejected)


def _holds(call: Call, rejected: Rejected) -> bool:
    return any(item.index == rejected.index for item in call.items)


def _rejected_by(call: Call, outcome: Outcome) -> list[Rejected]:
    if outcome.ok:
        return []
    reason = outcome.reason or Reason.INTERNAL
    return [Rejected(item.index, reason, outcome.message, item.item) for item in call.items]
