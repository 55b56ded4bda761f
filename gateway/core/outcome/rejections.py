"""Find which items of a call the upstream rejected, from the entries of its answer.

An entry names an item by its index in the call, or by members of its form. If an entry matches no item, matches an item
that another entry has named, or could match items whose forms differ, all items of the call count as rejected: it is
unknown which were stored, and a second delivery could duplicate them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.outcome.classify import Classified, RejectedEntry
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem, failure
from gateway.core.sending.encode import Call


def map_rejections(call: Call, classified: Classified) -> Outcome:
    """Return the outcome with its rejected items, by their indices in the report. Without entries, it has none."""
    entries, outcome = classified.entries, classified.outcome
    if not entries:
        return outcome
    if outcome.code is Code.OK:
        outcome = failure(Reason.UPSTREAM_REJECTED, entries[0].message)
    positions = _positions(call, entries)
    if positions is None:
        messages = dict.fromkeys(range(len(call.items)), "")
    else:
        messages = {at: entry.message for at, entry in zip(positions, entries, strict=True)}
    rejected = tuple(
        RejectedItem(item.index, Reason.UPSTREAM_REJECTED, messages[at] or outcome.message, item.item)
        for at, item in enumerate(call.items)
        if at in messages
    )
    return replace(outcome, rejected=rejected, accepted=len(call.items) - len(rejected))


def _positions(call: Call, entries: Sequence[RejectedEntry]) -> list[int] | None:
    """Return the position in the call of each entry's item; None if an entry is ambiguous."""
    free = set(range(len(call.items)))
    found = []
    for entry in entries:
        at = entry.index
        if at is None:
            at = next((each for each in sorted(free) if _matches(call.forms[each], entry.same)), -1)
        if at not in free:
            return None
        free.remove(at)
        found.append(at)
    for entry, at in zip(entries, found, strict=True):
        others = [call.forms[other] for other in free if entry.index is None]
        if any(form != call.forms[at] and _matches(form, entry.same) for form in others):
            return None
    return found


def _matches(form: Any, same: Any) -> bool:
    return _has_value(same) and _contains(form, same)


def _has_value(same: Any) -> bool:
    if isinstance(same, Mapping):
        return any(_has_value(value) for value in same.values())
    return same is not None


def _contains(form: Any, same: Any) -> bool:
    """Whether a form has the members of `same` that are not null. Numbers equal their text."""
    if isinstance(same, Mapping):
        if not isinstance(form, Mapping):
            return False
        return all(value is None or _contains(form.get(name), value) for name, value in same.items())
    if isinstance(same, list):
        if not isinstance(form, list) or len(form) != len(same):
            return False
        return all(_contains(one, other) for one, other in zip(form, same, strict=True))
    return bool(form == same) or (form is not None and str(form) == str(same))
