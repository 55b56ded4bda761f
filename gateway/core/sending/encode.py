"""Encode data points as calls: group items, build a call for each chunk of a group, split it if it is too large."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_json, write_scalar
from gateway.core.http.received import BodyKind
from gateway.core.http.request import PublicUrl
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason, RejectedItem
from gateway.core.points.decode import Item
from gateway.core.record import record
from gateway.core.steps import STEP_ITEMS, Steps
from gateway.core.vendor.provider import CallForm, Provider
from gateway.core.vendor.route import Head, Target, head_of


@record
class EncodeContext:
    """The clock, the source of call ids, and `size_of`: the maximum bytes of a body after signing."""

    now_ns: int
    new_call_id: Callable[[], str]
    size_of: Callable[[UnsignedRequest], int]


@record
class Group:
    """Items with equal `group_by` values, which may share a call.

    `forms` are the values of the provider's `item` expression, one per item. `shared` are the `group_by` values, and
    `key` is their JSON.
    """

    key: bytes
    shared: Mapping[str, Any]
    items: tuple[Item, ...]
    forms: tuple[Any, ...]


@record
class Call:
    """One unsigned call with its items and their forms. All retries have the same `call_id`."""

    call_id: str
    request: UnsignedRequest
    items: tuple[Item, ...]
    forms: tuple[Any, ...]


@record
class Encoded:
    """Calls in the order of their first items, and the items that fit in no call."""

    calls: tuple[Call, ...]
    rejected: tuple[RejectedItem, ...] = ()


def group_items(target: Target, items: Sequence[Item], *, now_ns: int) -> Steps[list[Group]]:
    """Group items by their `group_by` values in order of first appearance, STEP_ITEMS per step. Raises SpecError."""
    groups: dict[bytes, tuple[dict[str, Any], list[Item], list[Any]]] = {}
    given, form_of, group_by = target.given, target.send.item, target.send.group_by
    try:
        for count, item in enumerate(items, 1):
            if count % STEP_ITEMS == 0:
                yield False
            names = item.point.as_mapping()
            names["given"], names["now_ns"] = given, now_ns
            shared = {name: expression(names) for name, expression in group_by.items()}
            key = write_json(list(shared.values()))
            group = groups.get(key)
            if group is None:
                group = groups[key] = (shared, [], [])
            group[1].append(item)
            names.update(shared)
            group[2].append(form_of(names))
    except (EvaluationError, ValueError) as error:
        raise spec_error(target.provider, error) from error
    return [Group(key, shared, tuple(members), tuple(forms)) for key, (shared, members, forms) in groups.items()]


def encode_group(target: Target, group: Group, context: EncodeContext) -> Steps[Encoded]:
    """Build a call for each `limits.points` items, split while it exceeds `limits.bytes`. One step per built call.

    Raises SpecError.
    """
    limits, form, items, forms = target.limits, target.form, group.items, group.forms
    shared = {"given": target.given, "now_ns": context.now_ns, **group.shared}
    calls: list[Call] = []
    rejected: list[RejectedItem] = []

    def build(call_id: str, part: slice) -> UnsignedRequest:
        names = {**shared, "call_id": call_id, "items": list(forms[part])}
        if form.reads_points:
            names["points"] = [item.point.as_mapping() for item in items[part]]
        return build_request(form, target.url, names, target.head)

    size = limits.points or len(items) or 1
    try:
        if len(items) <= size and limits.bytes is None and target.head is not None:  # neither split nor rejected
            call_id = context.new_call_id()
            return Encoded((Call(call_id, build(call_id, slice(None)), items, forms),))
        for start in range(0, len(items), size):
            chunk = slice(start, min(start + size, len(items)))
            try:
                for fit in split_to_fit(chunk, build, context, max_bytes=limits.bytes):
                    yield False
                    if fit is None:
                        continue
                    call_id, request, part = fit
                    if request is not None:
                        calls.append(Call(call_id, request, items[part], forms[part]))
                        continue
                    message = f"one data point takes more than the {limits.bytes} bytes of a call"
                    rejected += [RejectedItem(item.index, Reason.TOO_LARGE, message, item.item) for item in items[part]]
            except BadSegment as error:  # all items of a group have the same path
                rejected += [
                    RejectedItem(item.index, Reason.BAD_FIELD, error.cause, item.item) for item in items[chunk]
                ]
    except (EvaluationError, ValueError) as error:
        raise spec_error(target.provider, error) from error
    return Encoded(tuple(calls), tuple(rejected))


def spec_error(provider: Provider, error: Exception) -> SpecError:
    """Return the error that is raised if an expression of the provider fails."""
    return SpecError.of(Reason.INTERNAL, f"{provider.name}: {error}")


def split_to_fit(
    part: slice, build: Callable[[str, slice], UnsignedRequest], context: EncodeContext, *, max_bytes: int | None
) -> Iterator[tuple[str, UnsignedRequest | None, slice] | None]:
    """Build a request of a part of a list; halve the part while the request is too large.

    Yields the call id, the request and its part; the request is None if a single element is too large. Yields None for
    each request that was built and halved.
    """
    call_id = context.new_call_id()
    request = build(call_id, part)
    if max_bytes is None or context.size_of(request) <= max_bytes:
        yield call_id, request, part
    elif part.stop - part.start == 1:
        yield call_id, None, part
    else:
        yield None
        middle = (part.start + part.stop) // 2
        for half in (slice(part.start, middle), slice(middle, part.stop)):
            yield from split_to_fit(half, build, context, max_bytes=max_bytes)


def build_request(
    form: CallForm, url: PublicUrl, names: Mapping[str, Any], head: Head | None = None
) -> UnsignedRequest:
    """Evaluate the form's expressions with `names`, except for a `head` that is known.

    Raises EvaluationError or ValueError.
    """
    path, headers = head_of(form, url, names) if head is None else head
    query = _parameters(form.query(names)) if form.query is not None else ()
    kind: BodyKind = "none"
    body: Any = None
    if form.json is not None:
        kind, body = "json", form.json(names)
    elif form.form is not None:
        kind, body = "form", _parameters(form.form(names))
    elif form.text is not None:
        kind, body = "text", form.text(names) or ""
    return UnsignedRequest(form.method, url.scheme, url.host, path, query, headers, kind, body)


def _parameters(values: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(values, dict):
        raise ValueError("parameters are not a map")
    parameters = []
    for name, value in values.items():
        text = write_scalar(value)
        if text is not None:
            parameters.append((name, text))
        elif value is not None:
            raise EvaluationError(f"the parameter {name}", f"the parameter {name} is not text")
    return tuple(parameters)


class BadSegment(EvaluationError):
    """A value that cannot be one segment of a path."""


def path_segment(value: str) -> str:
    """Percent-encode a value as one path segment (RFC 3986, section 3.3). Raises BadSegment for `.`, `..` and ""."""
    if value in ("", ".", ".."):
        raise BadSegment("the path", f"{value!r} cannot be a segment of the path")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise BadSegment("the path", "a segment of the path is not UTF-8") from None
