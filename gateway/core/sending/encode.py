"""From data points to the calls of the target's vendor: group, build, measure, halve."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from gateway.core.expression import EvaluationError
from gateway.core.http.json import write_json, write_number
from gateway.core.http.request import PublicUrl
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason, RejectedItem
from gateway.core.points.decode import Item
from gateway.core.sending.split import EncodeContext, split_to_fit
from gateway.core.steps import Steps, finish
from gateway.core.vendor.provider import CallForm, Provider
from gateway.core.vendor.route import Target


@dataclass(frozen=True, slots=True)
class Group:
    """Items that may travel in one call, since they are alike in the `group_by` values, `shared`; and their forms.

    `key` is the same for all groups of a target that may travel together.
    """

    key: bytes
    shared: Mapping[str, Any]
    items: tuple[Item, ...]
    forms: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream call, not yet signed, and the items that travel in it, each with the form that was built of it.

    `call_id` stays the same for each retry.
    """

    call_id: str
    request: UnsignedRequest
    items: tuple[Item, ...]
    forms: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The calls of a group, in the order of their first items, and the items too large for any call."""

    calls: tuple[Call, ...]
    rejected: tuple[RejectedItem, ...] = ()


def encode_calls(target: Target, items: Sequence[Item], encoder: EncodeContext) -> Encoded:
    """Do what `encode_calls_steps` does, at once."""
    return finish(encode_calls_steps(target, items, encoder))


def encode_calls_steps(target: Target, items: Sequence[Item], encoder: EncodeContext) -> Steps[Encoded]:
    """Build the calls that carry these items. Raises SpecError where the provider's expressions fail."""
    groups = yield from group_items_steps(target, items, now_ns=encoder.now_ns)
    encoded = []
    for each in groups:
        encoded.append((yield from encode_group_steps(target, each, encoder)))
    calls = tuple(call for each in encoded for call in each.calls)
    return Encoded(calls, tuple(rejected for each in encoded for rejected in each.rejected))


def group_items(target: Target, items: Sequence[Item], *, now_ns: int) -> list[Group]:
    """Do what `group_items_steps` does, at once."""
    return finish(group_items_steps(target, items, now_ns=now_ns))


def group_items_steps(target: Target, items: Sequence[Item], *, now_ns: int) -> Steps[list[Group]]:
    """Sort items by their `group_by` values, in order of first appearance; a step for each item.

    Raises SpecError.
    """
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


def encode_group_steps(target: Target, members: Group, encoder: EncodeContext) -> Steps[Encoded]:
    """Build the calls that carry a group: as many points as one may hold, halved while it is too large.

    There is a step for each call that is built. Raises SpecError.
    """
    limits = target.limits
    shared = {"given": target.given, "now_ns": encoder.now_ns, **members.shared}
    build = partial(_draft, target, shared)
    calls: list[Call] = []
    rejected: list[RejectedItem] = []
    with spec_errors_of(target.provider):
        for chunk in _chunks(list(zip(members.items, members.forms, strict=True)), limits.points):
            try:
                for fit in split_to_fit(chunk, build, encoder, max_bytes=limits.bytes):
                    yield False
                    if fit is None:
                        continue
                    call_id, draft, part = fit
                    items, forms = zip(*part, strict=True)
                    if draft is not None:
                        calls.append(Call(call_id, draft, items, forms))
                        continue
                    (lone,) = items
                    message = f"one data point takes more than the {limits.bytes} bytes of a call"
                    rejected.append(RejectedItem(lone.index, Reason.TOO_LARGE, message, lone.item))
            except BadSegment as error:  # all of a group have the same path
                rejected += [RejectedItem(item.index, Reason.BAD_FIELD, error.cause, item.item) for item, _ in chunk]
    return Encoded(tuple(calls), tuple(rejected))


@contextmanager
def spec_errors_of(provider: Provider) -> Iterator[None]:
    """Raise SpecError where the provider's expressions fail."""
    try:
        yield
    except (EvaluationError, ValueError) as error:
        raise SpecError.of(Reason.INTERNAL, f"{provider.name}: {error}") from error


def shared_values(target: Target, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `group_by` values of a data point: those that travel together share them."""
    return {name: expression(names) for name, expression in target.send.group_by.items()}


Formed = tuple[Item, Any]


def _chunks(formed: Sequence[Formed], size: int | None) -> Iterator[Sequence[Formed]]:
    size = size or len(formed) or 1
    for start in range(0, len(formed), size):
        yield formed[start : start + size]


def _draft(target: Target, shared: Mapping[str, Any], call_id: str, chunk: Sequence[Formed]) -> UnsignedRequest:
    items, points = [built for _, built in chunk], [item.point.as_mapping() for item, _ in chunk]
    return build_request(target.form, target.url, {**shared, "call_id": call_id, "items": items, "points": points})


def build_request(form: CallForm, url: PublicUrl, names: Mapping[str, Any]) -> UnsignedRequest:
    """Build one call from its form. Raises EvaluationError or ValueError where the form's expressions fail."""
    headers = tuple((name, value) for name, text in form.headers if (value := text(names)) is not None)
    query = _parameters(form.query(names)) if form.query is not None else ()
    path = url.prefix + (form.path(names) or "/")
    draft = UnsignedRequest(form.method, url.scheme, url.host, path, query, headers)
    if form.json is not None:
        return replace(draft, body_kind="json", body=form.json(names))
    if form.form is not None:
        return replace(draft, body_kind="form", body=_parameters(form.form(names)))
    return replace(draft, body_kind="text", body=form.text(names) or "") if form.text is not None else draft


def _parameters(values: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(values, dict):
        raise ValueError("parameters are not a map")
    return tuple((name, _parameter(name, value)) for name, value in values.items() if value is not None)


def _parameter(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return write_number(value)
    raise EvaluationError(f"the parameter {name}", f"the parameter {name} is not text")


class BadSegment(EvaluationError):
    """A value cannot be a segment of a path: it would lead to another one."""


def path_segment(value: str) -> str:
    """Encode a value so that it is one segment of a path (RFC 3986, section 3.3). Raises BadSegment where none."""
    if value in ("", ".", ".."):
        raise BadSegment("the path", f"{value!r} cannot be a segment of the path")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise BadSegment("the path", "a segment of the path is not UTF-8") from None
