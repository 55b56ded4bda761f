"""Which of a call's data points an upstream refused, where its answer names them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.outcome.classify import Classified, RejectedEntry
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem, failure
from gateway.core.sending.encode import Call


def map_rejections(call: Call, judged: Classified) -> Outcome:
    """Return the outcome of a call with the items that were refused, by the reporter's own indices.

    An outcome that names none stands for all of them. One that names an item which is not in the call names all of
    them here: it cannot be told any more which were taken, and none may be sent again.
    """
    if not judged.named:
        return judged.outcome
    outcome = judged.outcome
    if outcome.code is Code.OK:
        outcome = failure(Reason.UPSTREAM_REJECTED, judged.named[0].message)
    positions = _positions(call, judged.named)
    words = dict.fromkeys(range(len(call.items)), "")
    if positions is not None:
        words = {at: each.message for at, each in zip(positions, judged.named, strict=True)}
    rejected = tuple(
        RejectedItem(call.items[at].index, Reason.UPSTREAM_REJECTED, words[at] or outcome.message, call.items[at].item)
        for at in sorted(words)
    )
    return replace(outcome, rejected=rejected, accepted=len(call.items) - len(rejected))


def _positions(call: Call, named: Sequence[RejectedEntry]) -> list[int] | None:
    """Return where in the call each named item is; None where one is not there, is named twice, or could be another."""
    free = set(range(len(call.items)))
    found = []
    for each in named:
        at = each.index if each.index is not None else _alike(call, each.same, free)
        if at not in free:
            return None
        free.remove(at)
        found.append(at)
    could_be_another = any(
        _fits(call.forms[other], each.same) and call.forms[other] != call.forms[at]
        for each, at in zip(named, found, strict=True)
        if each.index is None
        for other in free
    )
    return None if could_be_another else found


def _alike(call: Call, same: Any, free: set[int]) -> int:
    return next((at for at in sorted(free) if _fits(call.forms[at], same)), -1)


def _fits(form: Any, same: Any) -> bool:
    return _says_something(same) and _holds(form, same)


def _says_something(stated: Any) -> bool:
    if isinstance(stated, Mapping):
        return any(_says_something(value) for value in stated.values())
    return stated is not None


def _holds(form: Any, stated: Any) -> bool:
    """Tell whether a form has what is stated of it; null is not stated. Vendors write numbers as text, and back."""
    if isinstance(stated, Mapping):
        return isinstance(form, Mapping) and all(
            value is None or _holds(form.get(name), value) for name, value in stated.items()
        )
    if isinstance(stated, list):
        return (
            isinstance(form, list)
            and len(form) == len(stated)
            and all(_holds(one, other) for one, other in zip(form, stated, strict=True))
        )
    return bool(form == stated) or (form is not None and str(form) == str(stated))
