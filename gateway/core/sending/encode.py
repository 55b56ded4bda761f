"""Encode data points as calls: group items, build a call for each chunk of a group, split it if it is too large."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_json, write_scalar
from gateway.core.http.request import PublicUrl
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason, RejectedItem
from gateway.core.points.decode import Item
from gateway.core.steps import Steps
from gateway.core.vendor.provider import CallForm, Provider
from gateway.core.vendor.route import Target

T = TypeVar("T")
Formed = tuple[Item, Any]


@dataclass(frozen=True, slots=True)
class EncodeContext:
    """The clock, the source of call ids, and `size_of`: the maximum bytes of a body after signing."""

    now_ns: int
    new_call_id: Callable[[], str]
    size_of: Callable[[UnsignedRequest], int]


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


def split_to_fit(
    parts: Sequence[T],
    build: Callable[[str, Sequence[T]], UnsignedRequest],
    context: EncodeContext,
    *,
    max_bytes: int | None,
) -> Iterator[tuple[str, UnsignedRequest | None, Sequence[T]] | None]:
    """Build a request of these parts; halve the parts while it is too large.

    Yields the call id, the request and its parts; the request is None if a single part is too large. Yields None for
    each request that was built and halved.
    """
    call_id = context.new_call_id()
    request = build(call_id, parts)
    if max_bytes is None or context.size_of(request) <= max_bytes:
        yield call_id, request, parts
    elif len(parts) == 1:
        yield call_id, None, parts
    else:
        yield None
        middle = len(parts) // 2
        for half in (parts[:middle], parts[middle:]):
            yield from split_to_fit(half, build, context, max_bytes=max_bytes)


def build_request(form: CallForm, url: PublicUrl, names: Mapping[str, Any]) -> UnsignedRequest:
    """Evaluate the form's expressions with `names`. Raises EvaluationError or ValueError."""
    headers = tuple([(name, value) for name, text in form.headers if (value := text(names)) is not None])
    query = _parameters(form.query(names)) if form.query is not None else ()
    path = url.prefix + (form.path(names) or "/")
    request = UnsignedRequest(form.method, url.scheme, url.host, path, query, headers)
    if form.json is not None:
        return replace(request, body_kind="json", body=form.json(names))
    if form.form is not None:
        return replace(request, body_kind="form", body=_parameters(form.form(names)))
    if form.text is not None:
        return replace(request, body_kind="text", body=form.text(names) or "")
    return request


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
