"""What an upstream must be told before data points may travel: which combinations are new, and the calls that say so.

What it was told already is remembered elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

from gateway.core.http.json import write_json
from gateway.core.http.unsigned import Draft
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.points.decode import Item
from gateway.core.sending.encode import Call, fill_in, shared_values, told_as_fault_of
from gateway.core.sending.split import Encoder, fitting
from gateway.core.vendor.provider import CallForm
from gateway.core.vendor.route import Target

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Declaring:
    """One declaring call, not yet signed, and the keys of the combinations that it declares."""

    call_id: str
    draft: Draft
    keys: tuple[bytes, ...]


def combinations(target: Target, items: Iterable[Item]) -> dict[bytes, Item]:
    """Return the key of each combination of `unique_by` values, and the first item that has it. Raises SpecError."""
    declare = target.send.declare
    found: dict[bytes, Item] = {}
    if declare is not None:
        with told_as_fault_of(target.provider):
            for item in items:
                values = declare.unique_by({**item.point.as_mapping(), "given": target.given})
                found.setdefault(blake2b(write_json(values), digest_size=KEY_BYTES).digest(), item)
    return found


def declaring_calls(target: Target, new: Mapping[bytes, Item], encoder: Encoder) -> list[Declaring]:
    """Build the calls that declare these combinations, all of one group: one, unless `limits.bytes` wants more.

    Raises SpecError, and CallerError where a single declaration is too large.
    """
    declare, max_bytes = target.send.declare, target.limits.bytes
    if declare is None or not new:
        return []
    with told_as_fault_of(target.provider):
        names: dict[str, Any] = {"given": target.given, "now_ns": encoder.now_ns}
        forms = []
        for key, item in new.items():
            own = {**names, **item.point.as_mapping()}
            shared = shared_values(target, own)
            forms.append((key, declare.item({**own, **shared})))
        build = partial(_draft, target, declare.request, names | shared)
        made = fitting(forms, build, encoder, max_bytes=max_bytes)
        return [_declaring(*fit, max_bytes) for fit in made if fit is not None]


def first_calls(target: Target, calls: Iterable[Call], encoder: Encoder) -> Iterator[tuple[Call, list[Declaring]]]:
    """Yield each call with the declaring calls before it, to an upstream that was told nothing yet."""
    told: set[bytes] = set()
    for call in calls:
        new = {key: item for key, item in combinations(target, call.items).items() if key not in told}
        told |= new.keys()
        yield call, declaring_calls(target, new, encoder)


Form = tuple[bytes, Any]


def _draft(target: Target, form: CallForm, names: Mapping[str, Any], call_id: str, forms: Sequence[Form]) -> Draft:
    return fill_in(form, target.url, {**names, "call_id": call_id, "items": [built for _, built in forms]})


def _declaring(call_id: str, draft: Draft | None, forms: Sequence[Form], max_bytes: int | None) -> Declaring:
    if draft is None:
        raise CallerError.of(Reason.TOO_LARGE, f"one declaration takes more than the {max_bytes} bytes of a call")
    return Declaring(call_id, draft, tuple(key for key, _ in forms))
