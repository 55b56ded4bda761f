"""What an upstream must be told before data points may travel: which combinations are new, and the calls that say so.

What it was told already is remembered elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

from gateway.core.http.json import write_json
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.points.decode import Item
from gateway.core.sending.encode import Call, build_request, shared_values, spec_errors_of
from gateway.core.sending.split import EncodeContext, split_to_fit
from gateway.core.vendor.provider import CallForm
from gateway.core.vendor.route import Target

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class DeclaringCall:
    """One declaring call, not yet signed, and the keys of the combinations that it declares."""

    call_id: str
    request: UnsignedRequest
    keys: tuple[bytes, ...]


def declaration_keys(target: Target, items: Iterable[Item]) -> dict[bytes, Item]:
    """Return the key of each combination of `unique_by` values, and the first item that has it. Raises SpecError."""
    declare = target.send.declare
    found: dict[bytes, Item] = {}
    if declare is not None:
        with spec_errors_of(target.provider):
            for item in items:
                values = declare.unique_by({**item.point.as_mapping(), "given": target.given})
                found.setdefault(blake2b(write_json(values), digest_size=KEY_BYTES).digest(), item)
    return found


def declaring_calls(target: Target, new: Mapping[bytes, Item], encoder: EncodeContext) -> list[DeclaringCall]:
    """Build the calls that declare these combinations, all of one group: one, unless `limits.bytes` wants more.

    Raises SpecError, and CallerError where a single declaration is too large.
    """
    declare, max_bytes = target.send.declare, target.limits.bytes
    if declare is None or not new:
        return []
    with spec_errors_of(target.provider):
        names: dict[str, Any] = {"given": target.given, "now_ns": encoder.now_ns}
        forms = []
        for key, item in new.items():
            own = {**names, **item.point.as_mapping()}
            shared = shared_values(target, own)
            forms.append((key, declare.item({**own, **shared})))
        build = partial(_draft, target, declare.request, names | shared)
        made = split_to_fit(forms, build, encoder, max_bytes=max_bytes)
        return [_declaring(*fit, max_bytes) for fit in made if fit is not None]


def calls_with_declarations(
    target: Target, calls: Iterable[Call], encoder: EncodeContext
) -> Iterator[tuple[Call, list[DeclaringCall]]]:
    """Yield each call with the declaring calls before it, to an upstream that was told nothing yet."""
    told: set[bytes] = set()
    for call in calls:
        new = {key: item for key, item in declaration_keys(target, call.items).items() if key not in told}
        told |= new.keys()
        yield call, declaring_calls(target, new, encoder)


Form = tuple[bytes, Any]


def _draft(
    target: Target, form: CallForm, names: Mapping[str, Any], call_id: str, forms: Sequence[Form]
) -> UnsignedRequest:
    return build_request(form, target.url, {**names, "call_id": call_id, "items": [built for _, built in forms]})


def _declaring(
    call_id: str, draft: UnsignedRequest | None, forms: Sequence[Form], max_bytes: int | None
) -> DeclaringCall:
    if draft is None:
        raise CallerError.of(Reason.TOO_LARGE, f"one declaration takes more than the {max_bytes} bytes of a call")
    return DeclaringCall(call_id, draft, tuple(key for key, _ in forms))
