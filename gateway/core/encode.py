"""From data points to the calls of the target's vendor: group, build, measure, halve."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from gateway.core.decode import Item
from gateway.core.draft import Draft
from gateway.core.errors import SpecError
from gateway.core.expression import EvaluationError
from gateway.core.fitting import fitting
from gateway.core.json import write_json, write_number
from gateway.core.model import PublicUrl
from gateway.core.outcome import Reason, Rejected
from gateway.core.provider import CallForm, Provider
from gateway.core.route import Target


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream call, not yet signed, and the items that travel in it, each with the form that was built of it.

    `call_id` stays the same for each retry.
    """

    call_id: str
    draft: Draft
    items: tuple[Item, ...]
    forms: tuple[Any, ...]
    group: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """The calls of a report, in the order of their first items, and the items too large for any call."""

    calls: tuple[Call, ...]
    rejected: tuple[Rejected, ...] = ()


def encode(
    target: Target,
    items: Sequence[Item],
    *,
    now_ns: int,
    new_call_id: Callable[[], str],
    size_of: Callable[[Draft], int],
) -> Encoded:
    """Build the calls that carry these items.

    `size_of` gives the bytes of a call's body as it will be sent, its signature in place. Raises SpecError where the
    provider's expressions fail.
    """
    with told_as_fault_of(target.provider):
        return _encode(target, items, now_ns, new_call_id, size_of)


@contextmanager
def told_as_fault_of(provider: Provider) -> Iterator[None]:
    """Raise SpecError where the provider's expressions fail."""
    try:
        yield
    except (EvaluationError, ValueError) as error:
        raise SpecError.of(Reason.INTERNAL, f"{provider.name}: {error}") from error


def _encode(
    target: Target,
    items: Sequence[Item],
    now_ns: int,
    new_call_id: Callable[[], str],
    size_of: Callable[[Draft], int],
) -> Encoded:
    limits = target.provider.limits
    calls: list[Call] = []
    rejected: list[Rejected] = []
    for group, (shared, members) in enumerate(_groups(target, items, now_ns)):
        build = partial(_draft, target, shared)
        for chunk in _chunks(members, limits.points or len(members)):
            made = fitting(chunk, build, max_bytes=limits.bytes, size_of=size_of, new_call_id=new_call_id)
            for call_id, draft, part in made:
                travelling, forms = zip(*part, strict=True)
                if draft is not None:
                    calls.append(Call(call_id, draft, travelling, forms, group))
                    continue
                (lone,) = travelling
                message = f"one data point takes more than the {limits.bytes} bytes of a call"
                rejected.append(Rejected(lone.index, Reason.TOO_LARGE, message, lone.item))
    return Encoded(tuple(calls), tuple(rejected))


Form = tuple[Item, Any]


def _groups(target: Target, items: Sequence[Item], now_ns: int) -> list[tuple[dict[str, Any], list[Form]]]:
    """Sort items by their `one_per` values, in the order in which each combination first appears."""
    groups: dict[bytes, tuple[dict[str, Any], list[Form]]] = {}
    for item in items:
        names = {**item.point.as_mapping(), "given": target.given, "now_ns": now_ns}
        shared = shared_values(target, names)
        form = target.send.item({**names, **shared})
        common = {"given": target.given, "now_ns": now_ns, **shared}
        groups.setdefault(write_json(list(shared.values())), (common, []))[1].append((item, form))
    return list(groups.values())


def shared_values(target: Target, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `one_per` values of a data point: those that travel together share them."""
    return {name: expression(names) for name, expression in target.send.one_per.items()}


def _chunks(forms: Sequence[Form], size: int) -> Iterator[Sequence[Form]]:
    for start in range(0, len(forms), size):
        yield forms[start : start + size]


def _draft(target: Target, shared: Mapping[str, Any], call_id: str, chunk: Sequence[Form]) -> Draft:
    items, points = [built for _, built in chunk], [item.point.as_mapping() for item, _ in chunk]
    return fill_in(target.form, target.url, {**shared, "call_id": call_id, "items": items, "points": points})


def fill_in(form: CallForm, url: PublicUrl, names: Mapping[str, Any]) -> Draft:
    """Build one call from its form. Raises EvaluationError or ValueError where the form's expressions fail."""
    headers = tuple((name, value) for name, text in form.headers if (value := text(names)) is not None)
    query = _parameters(form.query(names)) if form.query is not None else ()
    path = url.prefix + (form.path(names) or "/")
    draft = Draft(form.method, url.scheme, url.host, path, query, headers)
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
    raise ValueError(f"the parameter {name} is not text")


def path_segment(value: str) -> str:
    """Encode a value so that it is one segment of a path."""
    return quote(value, safe="")
