"""Encode data points as calls: group items, build a call for each chunk of a group, split it if it is too large."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_json
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason, RejectedItem
from gateway.core.points.decode import Item
from gateway.core.sending.build import BadSegment, build_request
from gateway.core.sending.split import EncodeContext, split_to_fit
from gateway.core.steps import Steps
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Target

Formed = tuple[Item, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """Items with equal `group_by` values, which may share a call.

    `forms` are the values of the provider's `item` expression, one per item. `shared` are the `group_by` values, and
    `key` is their JSON.
    """

    key: bytes
    shared: Mapping[str, Any]
    items: tuple[Item, ...]
    forms: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One unsigned call with its items and their forms. All retries have the same `call_id`."""

    call_id: str
    request: UnsignedRequest
    items: tuple[Item, ...]
    forms: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Calls in the order of their first items, and the items that fit in no call."""

    calls: tuple[Call, ...]
    rejected: tuple[RejectedItem, ...] = ()


def group_items(target: Target, items: Sequence[Item], *, now_ns: int) -> Steps[list[Group]]:
    """Group items by their `group_by` values in order of first appearance. One step per item. Raises SpecError."""
    groups: dict[bytes, tuple[dict[str, Any], list[Item], list[Any]]] = {}
    with spec_errors_of(target.provider):
        for item in items:
            yield False
            names = {**item.point.as_mapping(), "given": target.given, "now_ns": now_ns}
            shared = shared_values(target, names)
            key = write_json(list(shared.values()))
            _, members, forms = groups.setdefault(key, (shared, [], []))
            members.append(item)
            forms.append(target.send.item({**names, **shared}))
    return [Group(key, shared, tuple(members), tuple(forms)) for key, (shared, members, forms) in groups.items()]


def encode_group(target: Target, group: Group, context: EncodeContext) -> Steps[Encoded]:
    """Build a call for each `limits.points` items, split while it exceeds `limits.bytes`. One step per built call.

    Raises SpecError.
    """
    limits = target.limits
    shared = {"given": target.given, "now_ns": context.now_ns, **group.shared}
    calls: list[Call] = []
    rejected: list[RejectedItem] = []

    def build(call_id: str, chunk: Sequence[Formed]) -> UnsignedRequest:
        forms, points = [form for _, form in chunk], [item.point.as_mapping() for item, _ in chunk]
        return build_request(target.form, target.url, {**shared, "call_id": call_id, "items": forms, "points": points})

    formed = list(zip(group.items, group.forms, strict=True))
    size = limits.points or len(formed) or 1
    with spec_errors_of(target.provider):
        for start in range(0, len(formed), size):
            chunk = formed[start : start + size]
            try:
                for fit in split_to_fit(chunk, build, context, max_bytes=limits.bytes):
                    yield False
                    if fit is None:
                        continue
                    call_id, request, part = fit
                    items, forms = zip(*part, strict=True)
                    if request is not None:
                        calls.append(Call(call_id, request, items, forms))
                        continue
                    message = f"one data point takes more than the {limits.bytes} bytes of a call"
                    rejected.append(RejectedItem(items[0].index, Reason.TOO_LARGE, message, items[0].item))
            except BadSegment as error:  # all items of a group have the same path
                rejected += [RejectedItem(item.index, Reason.BAD_FIELD, error.cause, item.item) for item, _ in chunk]
    return Encoded(tuple(calls), tuple(rejected))


def shared_values(target: Target, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `group_by` values of a data point."""
    return {name: expression(names) for name, expression in target.send.group_by.items()}


@contextmanager
def spec_errors_of(provider: Provider) -> Iterator[None]:
    """Raise SpecError if an expression of the provider fails."""
    try:
        yield
    except (EvaluationError, ValueError) as error:
        raise SpecError.of(Reason.INTERNAL, f"{provider.name}: {error}") from error
