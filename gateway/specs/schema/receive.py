"""From the YAML of `receive` to the role of the vendor."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from gateway.core.expression.compiler import KeyPath, unescaped_names
from gateway.core.outcome.outcome import Code, Reason
from gateway.core.text import did_you_mean
from gateway.core.vendor.matching import RequestMatcher
from gateway.core.vendor.provider import (
    ErrorRow,
    Level,
    LocalCall,
    PointField,
    Receive,
    RejectRule,
    Replies,
    RequestMatch,
    Shape,
)
from gateway.specs.schema.models import (
    MatchSpec,
    ReceiveSpec,
    RefusalSpec,
    RepliesSpec,
    RequestSpec,
    RouteMatchSpec,
    ShapeSpec,
)
from gateway.specs.schema.parts import OUTCOME, REQUEST, WHO, Parts
from gateway.specs.yaml.renamed import replacement

T = TypeVar("T")
# What a reply writes that is ours or the provider's, and neither the reporter's nor the upstream's.
_FIXED_TEXT = {"error", "code", "reason", "accepted", "request_id", "retry_after_s", "request", "recipe", "token"}
_ROW_KEYS = frozenset({"when", "status", "headers", "json", "text"})


def build_receive(parts: Parts, spec: ReceiveSpec, *, relay: bool) -> Receive:
    at: KeyPath = ("receive",)
    levels = _levels(parts, spec, at)
    seen = REQUEST | WHO
    item = seen | {level.name for level in levels}
    _check_apart(parts, spec, at)
    return Receive(
        requests=(*_requests(parts, spec, at), *_local_calls(parts, spec, (*at, "local_calls"))),
        verify=parts.named_recipes(spec.verify, (*at, "verify")),
        reject_report=_refusals(parts, spec.reject_report, seen, (*at, "reject_report")),
        reject_item=_refusals(parts, spec.reject_item, item, (*at, "reject_item")),
        each=levels,
        point=_point(parts, spec, item, (*at, "point")),
        allow_empty=spec.allow_empty,
        on_bad_item=spec.on_bad_item,
        known=_known(parts, spec),
        reads=_reads(parts, spec, relay),  # before the replies: what they repeat to the reporter decides nothing
        replies=None if spec.replies is None else _replies(parts, spec.replies, (*at, "replies")),
    )


def _check_apart(parts: Parts, spec: ReceiveSpec, at: KeyPath) -> None:
    """Report two calls that cannot be told apart."""
    calls: dict[tuple[str, ...], RequestSpec] = {("request",): spec.request} if spec.request else {}
    calls |= {("requests", name): form for name, form in spec.requests.items()}
    calls |= {("local_calls", name): call.request for name, call in spec.local_calls.items()}
    seen: list[tuple[str, tuple[str, str], RequestMatcher]] = []
    for path, form in calls.items():
        call, conditions = (form.method, re.sub(r"\{\w+\}", "{}", form.path)), build_conditions(form.match)
        for other, earlier, theirs in seen:
            if earlier == call and (conditions == theirs or conditions.is_stricter_than(theirs)):
                what = f"{form.method} {form.path} is the call {other!r} already"
                parts.document.error((*at, *path), what, "the first that fits counts: tell them apart by `match`")
                break
        seen.append((path[-1], call, conditions))


def _reads(parts: Parts, spec: ReceiveSpec, relay: bool) -> frozenset[str]:
    """Return the parts of a request that the expressions compiled so far read; a relay's body is passed on anyway."""
    forms = [spec.request, *spec.requests.values()]
    kinds = {form.body for form in forms if form is not None and form.body != "none"}
    read = {chain[0] for chain in parts.compiler.read}
    chains = [chain for chain in parts.compiler.read if chain[0] == "headers" and len(chain) > 1]
    headers = {f"header.{chain[1].replace('_', '-')}" for chain in chains}
    return frozenset((kinds if relay or "body" in read else set()) | ({"query"} & read) | headers)


def _known(parts: Parts, spec: ReceiveSpec) -> dict[str, frozenset[str]]:
    """Return the members of `body` and `item` that expressions or recipes read, unless one of both is read whole."""
    carriers = [
        carrier
        for name in spec.verify
        for carrier in (parts.recipes[name].carriers if name in parts.recipes else ())
        if carrier.place in ("form", "json", "param")
    ]
    known = {"body": {carrier.name.partition(".")[0] for carrier in carriers}, "item": set[str]()}
    for root, *path in parts.compiler.read:
        if root in known and path:
            known[root].add(path[0])
    return {root: frozenset(names) for root, names in known.items() if (root,) not in parts.compiler.read}


def _levels(parts: Parts, spec: ReceiveSpec, at: KeyPath) -> tuple[Level, ...]:
    names = REQUEST | WHO
    levels = []
    for name, source in spec.each.items():
        expression = parts.compiler.expression(source, names, (*at, "each", name))
        levels.append(Level(name, expression, source if isinstance(source, str) else ""))
        names |= {name}
    if levels and levels[-1].name != "item":
        parts.document.error((*at, "each", levels[-1].name), "the last level of `each` is named `item`")
    return tuple(levels)


def _requests(parts: Parts, spec: ReceiveSpec, at: KeyPath) -> tuple[RequestMatch, ...]:
    forms = {**spec.requests, "request": spec.request} if spec.request else dict(spec.requests)
    if bool(spec.request) == bool(spec.requests):
        parts.document.error(at, "`receive` has either `request` or `requests`")
    built = []
    for name, form in forms.items():
        form_at = (*at, "request") if form is spec.request else (*at, "requests", name)
        if form is None:
            continue
        _check_path(parts, form.path, (*form_at, "path"))
        names = REQUEST | WHO
        input_ = None if form.input is None else parts.compiler.expression(form.input, names, (*form_at, "input"))
        conditions = build_conditions(form.match)
        built.append(RequestMatch(name, form.method, form.path, form.body, input_, match=conditions))
    return tuple(built)


def _check_path(parts: Parts, path: str, at: KeyPath) -> None:
    names = captures(path)
    if len(set(names)) < len(names):
        parts.document.error(at, "the path captures one name twice")
    odd = re.search(r"\{[^{}]*\}?|[*}]", re.sub(r"\{[A-Za-z_]\w*\}", "", path))
    if odd is not None:
        parts.document.error(at, f"{odd[0]!r} in the path is not a capture", "write {name}, which captures one segment")


def _local_calls(parts: Parts, spec: ReceiveSpec, at: KeyPath) -> list[RequestMatch]:
    """Return the calls without data points, which are answered here."""
    names = REQUEST | WHO | {"token", "expires_ns", "request_id"}
    calls = []
    for name, call in spec.local_calls.items():
        here = (*at, name)
        for key, recipe in (("issues", call.issues), ("ends", call.ends)):
            if recipe is not None and recipe not in spec.verify:
                parts.document.error((*here, key), f"{recipe!r} is not among what `receive.verify` takes")
        if call.issues is not None and not call.verify:
            parts.document.error(here, "a call that issues a session has to `verify` who asks for it")
        if call.ends is not None and "{token}" not in call.request.path:
            parts.document.error((*here, "request", "path"), "a call that ends a session captures it as {token}")
        form = call.request
        _check_path(parts, form.path, (*here, "request", "path"))
        verify = parts.named_recipes(call.verify, (*here, "verify"))
        for shape, shape_at in _placed(parts, call.reply, (*here, "reply")):
            _warn_of_unescaped(parts, shape.text, [shape.headers], shape_at)
        reply = _shapes(parts, call.reply, names, (*here, "reply"))
        local_call = LocalCall(verify, call.issues, call.ends, call.lifetime_s, reply)
        calls.append(
            RequestMatch(name, form.method, form.path, form.body, None, local_call, build_conditions(form.match))
        )
    return calls


def _point(parts: Parts, spec: ReceiveSpec, names: Collection[str], at: KeyPath) -> tuple[PointField, ...]:
    compiled = parts.compiler.members({str(name): source for name, source in spec.point.items()}, names, at)
    return tuple(
        PointField(name, compiled[name], source if isinstance(source, str) else "")
        for name, source in spec.point.items()
    )


def _refusals(
    parts: Parts, specs: Sequence[RefusalSpec], names: Collection[str], at: KeyPath
) -> tuple[RejectRule, ...]:
    return tuple(
        RejectRule(
            parts.compiler.condition(spec.when, names, (*at, index, "when")),
            spec.reason,
            parts.compiler.text(spec.text, names, (*at, index, "text")),
        )
        for index, spec in enumerate(specs)
    )


def _replies(parts: Parts, spec: RepliesSpec, at: KeyPath) -> Replies:
    names = REQUEST | WHO | OUTCOME
    for key, shapes in (("ok", spec.ok), ("partial", spec.partial), ("error", spec.error)):
        for shape, shape_at in _placed(parts, shapes, (*at, key)):
            _warn_of_unescaped(parts, shape.text, [shape.headers], shape_at)
    for word, rows in spec.errors.items():
        for row, row_at in _placed(parts, rows, (*at, "errors", word)):
            own = row.get("headers")
            headers = [own] if isinstance(own, dict) else [shape.headers for shape in spec.error]
            _warn_of_unescaped(parts, row.get("text"), headers, row_at)
    return Replies(
        _shapes(parts, spec.ok, names, (*at, "ok")),
        _shapes(parts, spec.partial, names | {"error"}, (*at, "partial")),
        _shapes(parts, spec.error, names | {"error"}, (*at, "error")),
        {
            word: _rows(parts, word, rows, names | {"error"}, (*at, "errors", word))
            for word, rows in spec.errors.items()
        },
    )


def _placed(parts: Parts, items: Sequence[T], at: KeyPath) -> Iterator[tuple[T, KeyPath]]:
    """Yield each item with its key path; one that is written alone is not in a list."""
    several = isinstance(parts.value(at), list)
    for index, item in enumerate(items):
        yield item, (*at, index) if several else at


def _warn_of_unescaped(parts: Parts, text: Any, headers: Sequence[Mapping[str, Any]], at: KeyPath) -> None:
    """Warn of what an XML reply repeats of a report as it is: it could close an element and open others."""
    types = [str(value) for each in headers for name, value in each.items() if name.lower() == "content-type"]
    if not isinstance(text, str) or not any("xml" in each.lower() for each in types):
        return
    for name in unescaped_names(text):
        if name.split(".")[0] not in _FIXED_TEXT:
            what = f"the reply is XML, and {{{name}}} is not escaped in it"
            parts.document.warning((*at, "text"), what, f"write {{{name}|xml}}")


def _shapes(parts: Parts, specs: Sequence[ShapeSpec], names: Collection[str], at: KeyPath) -> tuple[Shape, ...]:
    return tuple(_shape(parts, spec, names, spec_at) for spec, spec_at in _placed(parts, specs, at))


def _shape(parts: Parts, spec: ShapeSpec, names: Collection[str], at: KeyPath) -> Shape:
    if spec.json_ is not None and spec.text is not None:
        parts.document.error(at, "a reply has `json` or `text`, not both")
    return Shape(
        parts.condition(spec.when, names, (*at, "when")),
        parts.compiler.expression(spec.status, names, (*at, "status")),
        parts.headers(spec.headers, names, (*at, "headers")),
        parts.optional(spec.json_, names, (*at, "json")),
        None if spec.text is None else parts.compiler.text(spec.text, names, (*at, "text")),
    )


def _rows(
    parts: Parts, word: str, rows: Sequence[dict[str, Any]], names: Collection[str], at: KeyPath
) -> tuple[ErrorRow, ...]:
    known = {*Reason, *Code, "default"}
    if word not in known:
        parts.document.error(
            at, f"{word!r} is no reason and no code", replacement(word, known) or did_you_mean(word, known)
        )
    return tuple(_row(parts, row, names, row_at) for row, row_at in _placed(parts, rows, at))


def _row(parts: Parts, row: dict[str, Any], names: Collection[str], at: KeyPath) -> ErrorRow:
    status, headers, text = row.get("status"), row.get("headers"), row.get("text")
    if status is not None and (type(status) is not int or not 200 <= status <= 599):
        parts.document.error((*at, "status"), "the status of a row is a number from 200 to 599")
        status = None
    if headers is not None and not isinstance(headers, dict):
        parts.document.error((*at, "headers"), "a map is wanted here")
        headers = None
    return ErrorRow(
        {name: value for name, value in row.items() if name not in _ROW_KEYS},
        parts.condition(row.get("when"), names, (*at, "when")),
        status,
        None if headers is None else parts.headers(headers, names, (*at, "headers")),
        parts.optional(row.get("json"), names, (*at, "json")),
        None if text is None else parts.compiler.text(str(text), names, (*at, "text")),
    )


def build_conditions(spec: MatchSpec) -> RequestMatcher:
    """Return what a request must have, by subject."""
    tests: dict[str, list[str] | None] = {"host": spec.host, "type": spec.type}
    tests |= {f"header.{name.lower()}": patterns for name, patterns in spec.headers.items()}
    tests |= {f"query.{name}": patterns for name, patterns in spec.query.items()}
    if isinstance(spec, RouteMatchSpec):
        tests["key"] = spec.key
    caseless = ("host", "type")
    return RequestMatcher(
        {
            subject: tuple(pattern.lower() if subject in caseless else pattern for pattern in patterns)
            for subject, patterns in tests.items()
            if patterns is not None
        }
    )


def captures(path: str) -> list[str]:
    """Return the names of the segments that a path captures."""
    return re.findall(r"\{([A-Za-z_]\w*)\}", path)
