"""From a provider's YAML to a provider: expressions compiled with the names they may see, recipes resolved."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.decode import FIELD_READERS
from gateway.core.encode import path_segment
from gateway.core.expression import Compiler, Expression
from gateway.core.expression.compiler import KeyPath, Text
from gateway.core.outcome import Code, Reason
from gateway.core.provider import (
    CallForm,
    ErrorRow,
    Level,
    Limits,
    OutcomeRule,
    PointField,
    Provider,
    Receive,
    Refusal,
    Replies,
    RequestMatch,
    Send,
    Shape,
)
from gateway.core.recipe.model import GivenSlot, Recipe
from gateway.core.rules import Rule
from gateway.core.suggest import nearest
from gateway.specs.document import Document
from gateway.specs.models import (
    CallSpec,
    OutcomeRuleSpec,
    ProviderSpec,
    ReceiveSpec,
    RefusalSpec,
    RepliesSpec,
    RuleSpec,
    SendSpec,
    ShapeSpec,
)
from gateway.specs.nodes import to_python

POINT = frozenset(FIELD_READERS)
REQUEST = frozenset({"body", "query", "headers", "given"})
WHO = frozenset({"request", "recipe", "key"})
OUTCOME = frozenset({"code", "reason", "message", "accepted", "rejected", "request_id", "retry_after_s"})
ANSWER = frozenset({"status", "headers", "body", "text", "call_id", "given"})
_ROW_KEYS = frozenset({"when", "status", "headers", "json", "text"})


def build_provider(
    document: Document, recipes: Mapping[str, Recipe], on_value: Callable[[KeyPath], None] | None = None
) -> tuple[Provider, Compiler] | None:
    """Return the provider and what compiled it, or None when the document has errors; they are reported."""
    spec = document.read(ProviderSpec, to_python(document.node))
    if spec is None:
        return None
    builder = _Builder(document, recipes, Compiler(on_value))
    provider = builder.build(spec)
    document.problems(builder.compiler.problems)
    return (provider, builder.compiler) if not document.errors else None


def build_rule(field: str, spec: RuleSpec, compiler: Compiler, document: Document, at: KeyPath) -> Rule:
    """Return one rule; `at` is where it stands in the document."""
    names = spec.keys if isinstance(spec.keys, list) else None
    pattern = spec.keys if isinstance(spec.keys, str) else None
    return Rule(
        field=field,
        required=spec.required,
        pattern=_pattern(spec.pattern, document, (*at, "pattern")),
        max_chars=spec.max_chars,
        max_bytes=spec.max_bytes,
        min=spec.min,
        max=spec.max,
        keys=frozenset(names) if names is not None else _pattern(pattern, document, (*at, "keys")),
        integer=spec.integer,
        max_age_s=spec.max_age_s,
        max_ahead_s=spec.max_ahead_s,
        else_=spec.else_,
        fix=None if spec.fix is None else compiler.expression(spec.fix, POINT, (*at, "fix")),
    )


def _pattern(source: str | None, document: Document, at: KeyPath) -> re.Pattern[str] | None:
    try:
        return None if source is None else re.compile(source)
    except re.error as error:
        document.error(at, f"{source!r} is not a pattern: {error}")
        return None


@dataclass(frozen=True, slots=True)
class _Builder:
    document: Document
    recipes: Mapping[str, Recipe]
    compiler: Compiler

    def build(self, spec: ProviderSpec) -> Provider:
        receive = None if spec.receive is None else self._receive(spec.receive)
        send = None if spec.send is None else self._send(spec.send)
        if receive is None and send is None:
            self.document.error((), "a provider has `receive`, `send`, or both")
        url = spec.send.url if spec.send and spec.send.url else spec.url
        url_at = ("send", "url") if spec.send and spec.send.url else ("url",)
        provider = Provider(
            spec.provider,
            spec.title or spec.provider,
            tuple(spec.needs),
            dict(spec.given),
            None if url is None else self.compiler.text(url, {"given"}, url_at, escape=path_segment),
            Limits(spec.limits.points, spec.limits.bytes),
            {
                field: build_rule(field, rule, self.compiler, self.document, ("rules", field))
                for field, rule in spec.rules.items()
            },
            receive,
            send,
        )
        self._check_given(spec, provider)
        return provider

    def _check_given(self, spec: ProviderSpec, provider: Provider) -> None:
        """Report each given that nothing reads, and each that is read and is not declared."""
        declared = {*spec.given, *spec.needs}
        read = {chain[1] for chain in self.compiler.read if chain[0] == "given" and len(chain) > 1}
        used = read | {name for recipe in _recipes_of(provider) for name in _given_slots(recipe)}
        if provider.receive is not None:
            captured = {name for form in provider.receive.requests for name in captures(form.path)}
            used |= captured
            declared |= captured
        whole = any(chain == ("given",) for chain in self.compiler.read)
        for name in declared - used if not whole else ():
            at = ("given", name) if name in spec.given else ("needs", spec.needs.index(name))
            self.document.error(at, f"nothing reads `given.{name}`", "leave it out")
        for name in sorted(read - declared):
            hint = nearest(name, declared) if declared else "name it under `needs` or `given`"
            self.document.error((), f"`given.{name}` is read, and is neither under `needs` nor under `given`", hint)

    def _receive(self, spec: ReceiveSpec) -> Receive:
        at: KeyPath = ("receive",)
        levels = self._levels(spec, at)
        seen = REQUEST | WHO
        item = seen | {level.name for level in levels}
        return Receive(
            self._requests(spec, at),
            self._recipes(spec.verify, (*at, "verify")),
            self._refusals(spec.refuse, seen, (*at, "refuse")),
            self._refusals(spec.reject, item, (*at, "reject")),
            levels,
            self._point(spec, item, (*at, "point")),
            spec.empty == "ok",
            spec.partial,
            None if spec.replies is None else self._replies(spec.replies, (*at, "replies")),
        )

    def _levels(self, spec: ReceiveSpec, at: KeyPath) -> tuple[Level, ...]:
        names = REQUEST | WHO
        levels = []
        for name, source in spec.each.items():
            expression = self.compiler.expression(source, names, (*at, "each", name))
            levels.append(Level(name, expression, source if isinstance(source, str) else ""))
            names |= {name}
        if levels[-1].name != "item":
            self.document.error((*at, "each", levels[-1].name), "the last level of `each` is named `item`")
        return tuple(levels)

    def _requests(self, spec: ReceiveSpec, at: KeyPath) -> tuple[RequestMatch, ...]:
        forms = {**spec.requests, "request": spec.request} if spec.request else dict(spec.requests)
        if bool(spec.request) == bool(spec.requests):
            self.document.error(at, "`receive` has either `request` or `requests`")
        built = []
        for name, form in forms.items():
            form_at = (*at, "request") if form is spec.request else (*at, "requests", name)
            if form is None:
                continue
            names = REQUEST | WHO
            input_ = None if form.input is None else self.compiler.expression(form.input, names, (*form_at, "input"))
            built.append(RequestMatch(name, form.method, form.path, form.body, input_))
        return tuple(built)

    def _point(self, spec: ReceiveSpec, names: Collection[str], at: KeyPath) -> tuple[PointField, ...]:
        for needed, alternative in (("metric", "metric"), ("value", "stats")):
            if needed not in spec.point and alternative not in spec.point:
                self.document.error(at, f"{needed!r} is missing")
        compiled = self.compiler.members({str(name): source for name, source in spec.point.items()}, names, at)
        return tuple(
            PointField(name, compiled[name], source if isinstance(source, str) else "")
            for name, source in spec.point.items()
        )

    def _refusals(self, specs: Sequence[RefusalSpec], names: Collection[str], at: KeyPath) -> tuple[Refusal, ...]:
        return tuple(
            Refusal(
                self.compiler.expression(spec.when, names, (*at, index, "when")),
                spec.reason,
                self.compiler.text(spec.text, names, (*at, index, "text")),
            )
            for index, spec in enumerate(specs)
        )

    def _replies(self, spec: RepliesSpec, at: KeyPath) -> Replies:
        names = REQUEST | WHO | OUTCOME
        return Replies(
            self._shapes(spec.ok, names, (*at, "ok")),
            self._shapes(spec.partial, names | {"error"}, (*at, "partial")),
            self._shapes(spec.error, names | {"error"}, (*at, "error")),
            {
                word: self._rows(word, rows, names | {"error"}, (*at, "errors", word))
                for word, rows in spec.errors.items()
            },
        )

    def _shapes(self, specs: Sequence[ShapeSpec], names: Collection[str], at: KeyPath) -> tuple[Shape, ...]:
        several = isinstance(self._value(at), list)
        return tuple(self._shape(spec, names, (*at, index) if several else at) for index, spec in enumerate(specs))

    def _shape(self, spec: ShapeSpec, names: Collection[str], at: KeyPath) -> Shape:
        if spec.json_ is not None and spec.text is not None:
            self.document.error(at, "a reply has `json` or `text`, not both")
        return Shape(
            self._optional(spec.when, names, (*at, "when")),
            self.compiler.expression(spec.status, names, (*at, "status")),
            self._headers(spec.headers, names, (*at, "headers")),
            self._optional(spec.json_, names, (*at, "json")),
            None if spec.text is None else self.compiler.text(spec.text, names, (*at, "text")),
        )

    def _rows(
        self, word: str, rows: Sequence[dict[str, Any]], names: Collection[str], at: KeyPath
    ) -> tuple[ErrorRow, ...]:
        known = {*Reason, *Code, "default"}
        if word not in known:
            self.document.error(at, f"{word!r} is no reason and no code", nearest(word, known))
        several = isinstance(self._value(at), list)
        return tuple(self._row(row, names, (*at, index) if several else at) for index, row in enumerate(rows))

    def _row(self, row: dict[str, Any], names: Collection[str], at: KeyPath) -> ErrorRow:
        status, headers, text = row.get("status"), row.get("headers"), row.get("text")
        if status is not None and not isinstance(status, int):
            self.document.error((*at, "status"), "the status of a row is a number")
            status = None
        if headers is not None and not isinstance(headers, dict):
            self.document.error((*at, "headers"), "a map is wanted here")
            headers = None
        return ErrorRow(
            {name: value for name, value in row.items() if name not in _ROW_KEYS},
            self._optional(row.get("when"), names, (*at, "when")),
            status,
            None if headers is None else self._headers(headers, names, (*at, "headers")),
            self._optional(row.get("json"), names, (*at, "json")),
            None if text is None else self.compiler.text(str(text), names, (*at, "text")),
        )

    def _send(self, spec: SendSpec) -> Send:
        at: KeyPath = ("send",)
        named = {name: name for name in spec.one_per} if isinstance(spec.one_per, list) else spec.one_per
        one_per = {
            name: self.compiler.expression(source, POINT | {"given"}, (*at, "one_per", name))
            for name, source in named.items()
        }
        names = {"given", "now_ns", *one_per}
        forms = {**spec.requests, "request": spec.request} if spec.request else dict(spec.requests)
        if bool(spec.request) == bool(spec.requests):
            self.document.error(at, "`send` has either `request` or `requests`")
        return Send(
            one_per,
            self.compiler.expression(spec.item, POINT | names, (*at, "item")),
            tuple(
                self._call(
                    name, form, spec, names, (*at, "request") if form is spec.request else (*at, "requests", name)
                )
                for name, form in forms.items()
                if form is not None
            ),
            tuple(self._outcome(rule, (*at, "outcome", index)) for index, rule in enumerate(spec.outcome)),
        )

    def _call(self, name: str, spec: CallSpec, send: SendSpec, names: Collection[str], at: KeyPath) -> CallForm:
        names = {*names, "items", "points", "call_id"}
        bodies = [body for body in (spec.json_, spec.form, spec.text) if body is not None]
        if len(bodies) > 1:
            self.document.error(at, "a request has one of `json`, `form` and `text`")
        sign_at, sign = ((*at, "sign"), spec.sign) if spec.sign is not None else (("send", "sign"), send.sign)
        return CallForm(
            name,
            spec.method,
            self.compiler.text(spec.path, names, (*at, "path"), escape=path_segment),
            self._optional(spec.query, names, (*at, "query")),
            self._headers(spec.headers, names, (*at, "headers")),
            self._optional(spec.json_, names, (*at, "json")),
            self._optional(spec.form, names, (*at, "form")),
            None if spec.text is None else self.compiler.text(spec.text, names, (*at, "text")),
            self._recipes(sign, sign_at),
        )

    def _outcome(self, spec: OutcomeRuleSpec, at: KeyPath) -> OutcomeRule:
        if sum(each is not None for each in (spec.code, spec.of, spec.poll)) > 1:
            self.document.error(at, "a rule has one of `code`, `of` and `poll`")
        if bool(spec.codes) != (spec.of is not None):
            self.document.error(at, "`of` and `codes` belong together")
        exact: dict[str, Code] = {}
        prefixes: list[tuple[str, Code]] = []
        for code, words in spec.codes.items():
            for word in map(str, words):
                if word.endswith("*"):
                    prefixes.append((word[:-1], code))
                elif exact.setdefault(word, code) is not code:
                    self.document.error((*at, "codes", code), f"{word!r} stands under {exact[word]} too")
        return OutcomeRule(
            frozenset(spec.status),
            self._optional(spec.when, ANSWER, (*at, "when")),
            spec.code,
            self._optional(spec.of, ANSWER, (*at, "of")),
            exact,
            tuple(sorted(prefixes, key=lambda prefix: -len(prefix[0]))),
            self._optional(spec.poll, ANSWER, (*at, "poll")),
            self._optional(spec.message, ANSWER, (*at, "message")),
        )

    def _headers(self, headers: Mapping[str, Any], names: Collection[str], at: KeyPath) -> tuple[tuple[str, Text], ...]:
        return tuple((name, self.compiler.text(str(value), names, (*at, name))) for name, value in headers.items())

    def _optional(self, source: Any, names: Collection[str], at: KeyPath) -> Expression | None:
        return None if source is None else self.compiler.expression(source, names, at)

    def _recipes(self, names: Sequence[str], at: KeyPath) -> tuple[Recipe, ...]:
        several = isinstance(self._value(at), list)
        found = []
        for index, name in enumerate(names):
            if name in self.recipes:
                found.append(self.recipes[name])
            else:
                path = (*at, index) if several else at
                self.document.error(path, f"no recipe is named {name!r}", nearest(name, self.recipes.keys()))
        return tuple(found)

    def _value(self, at: KeyPath) -> Any:
        value: Any = to_python(self.document.node)
        for step in at:
            value = value.get(step) if isinstance(value, dict) else None
        return value


def _recipes_of(provider: Provider) -> list[Recipe]:
    verify = provider.receive.verify if provider.receive else ()
    sign = [recipe for form in provider.send.requests for recipe in form.sign] if provider.send else []
    return [*verify, *sign]


def _given_slots(recipe: Recipe) -> list[str]:
    return [name for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)]


def captures(path: str) -> list[str]:
    return re.findall(r"\{([A-Za-z_]\w*)\}", path)
