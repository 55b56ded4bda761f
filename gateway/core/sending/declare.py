"""Declare new combinations of `unique_by` values to an upstream before their data points are sent.

`delivery/declarations.py` remembers which combinations are declared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_json
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.points.decode import Item
from gateway.core.sending.encode import EncodeContext, build_request, spec_error, split_to_fit
from gateway.core.vendor.route import Target

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class DeclaringCall:
    """One unsigned declaring call, and the keys of the combinations that it declares."""

    call_id: str
    request: UnsignedRequest
    keys: tuple[bytes, ...]


def declaration_keys(target: Target, items: Iterable[Item]) -> dict[bytes, Item]:
    """Return a key for each combination of `unique_by` values, with its first item. Raises SpecError."""
    declare = target.send.declare
    found: dict[bytes, Item] = {}
    if declare is not None:
        try:
            for item in items:
                values = declare.unique_by({**item.point.as_mapping(), "given": target.given})
                found.setdefault(blake2b(write_json(values), digest_size=KEY_BYTES).digest(), item)
        except (EvaluationError, ValueError) as error:
            raise spec_error(target.provider, error) from error
    return found


def declaring_calls(target: Target, new: Mapping[bytes, Item], context: EncodeContext) -> list[DeclaringCall]:
    """Build the calls that declare these combinations of one group: one call, or more if `limits.bytes` requires it.

    Raises SpecError, and CallerError if a single declaration is too large.
    """
    declare, max_bytes = target.send.declare, target.limits.bytes
    if declare is None or not new:
        return []
    names: dict[str, Any] = {"given": target.given, "now_ns": context.now_ns}
    keys = tuple(new)
    forms: list[Any] = []
    shared: dict[str, Any] = {}

    def build(call_id: str, part: slice) -> UnsignedRequest:
        return build_request(declare.request, target.url, {**names, **shared, "call_id": call_id, "items": forms[part]})

    calls = []
    try:
        for item in new.values():
            own = {**names, **item.point.as_mapping()}
            shared = {name: expression(own) for name, expression in target.send.group_by.items()}
            forms.append(declare.item({**own, **shared}))
        for fit in split_to_fit(slice(0, len(forms)), build, context, max_bytes=max_bytes):
            if fit is None:
                continue
            call_id, request, part = fit
            if request is None:
                message = f"one declaration takes more than the {max_bytes} bytes of a call"
                raise CallerError.of(Reason.TOO_LARGE, message)
            calls.append(DeclaringCall(call_id, request, keys[part]))
    except (EvaluationError, ValueError) as error:
        raise spec_error(target.provider, error) from error
    return calls
