"""From a route's YAML to a route: provider, credentials, target and rules resolved against what is loaded."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from gateway.core.expression import Compiler, EvaluationError
from gateway.core.expression.compiler import KeyPath
from gateway.core.provider import CallForm, Provider, Receive, Send
from gateway.core.recipe.keyring import MAX_SECRETS_PER_KEY, Credential, make_keyring
from gateway.core.recipe.model import GivenSlot, Recipe
from gateway.core.recipe.verify import Check
from gateway.core.route import PointChanges, Route, Source, Target
from gateway.core.rules import Rule
from gateway.core.suggest import nearest
from gateway.specs.build_receive import captures
from gateway.specs.build_rule import build_rule
from gateway.specs.document import Document
from gateway.specs.models import CredentialSpec, PointsSpec, RouteSpec, RuleSpec, SourceSpec, TargetSpec
from gateway.specs.parts import POINT

_PRINTABLE = re.compile("[!-~]+")  # what goes out in a request line without being encoded first


def build_route(
    document: Document,
    values: Any,
    providers: Mapping[str, Provider],
    on_value: Callable[[KeyPath], None] | None = None,
) -> tuple[Route, Compiler] | None:
    """Return the route and what compiled it, or None when the document has errors; they are reported.

    `values` are the document's plain values, its variables replaced.
    """
    spec = document.read(RouteSpec, values)
    if spec is None:
        return None
    builder = _Builder(document, providers, Compiler(on_value))
    source = builder.source(spec.receive)
    target = builder.target(spec.send, spec.delivery.timeout_s)
    points = builder.points(spec.points)
    document.problems(builder.compiler.problems)
    if document.errors or source is None or target is None:
        return None
    return Route(name=spec.route, source=source, target=target, points=points), builder.compiler


@dataclass(frozen=True, slots=True)
class _Builder:
    document: Document
    providers: Mapping[str, Provider]
    compiler: Compiler

    def source(self, spec: SourceSpec) -> Source | None:
        at: KeyPath = ("receive",)
        provider = self._provider(spec.provider, at)
        if provider is None:
            return None
        if provider.receive is None:
            self.document.error((*at, "provider"), f"{provider.name} has no `receive`: nobody can report to it")
            return None
        recipes = self._verify(spec, provider.receive, at)
        self._check_given(spec.given, provider, recipes, at)
        given = {**provider.given, **spec.given}
        return Source(
            provider=provider,
            receive=provider.receive,
            checks=self._checks(spec, recipes, at),
            given=given,
            rules=self._rules(provider, spec.rules, (*at, "rules")),
            hide_unknown_keys=spec.hide_unknown_keys,
            max_body_bytes=spec.max_body_bytes,
            read_timeout_s=spec.read_timeout_s,
        )

    def target(self, spec: TargetSpec, timeout_s: float) -> Target | None:
        at: KeyPath = ("send",)
        provider = self._provider(spec.provider, at)
        if provider is None:
            return None
        if provider.send is None:
            self.document.error((*at, "provider"), f"{provider.name} has no `send`: nothing can be sent to it")
            return None
        chosen = self._call(spec, provider.send, at)
        given = {**provider.given, **spec.given}
        for name in provider.needs:
            if given.get(name) in (None, ""):
                self.document.error((*at, "given"), f"{provider.name} needs `given.{name}` to send")
        url = self._url(spec, provider, given, at)
        if chosen is None or url is None:
            return None
        form, recipe = chosen
        self._check_given(spec.given, provider, form.sign, at)
        scheme, host, base_path = url
        return Target(
            provider=provider,
            send=provider.send,
            form=form,
            scheme=scheme,
            host=host,
            base_path=base_path,
            recipe=recipe,
            credential=None if spec.credential is None else _credential(spec.credential),
            given=given,
            rules=self._rules(provider, spec.rules, (*at, "rules")),
            connect_timeout_s=spec.connect_timeout_s,
            timeout_s=timeout_s,
        )

    def points(self, spec: PointsSpec) -> PointChanges:
        keep = None if spec.keep is None else self.compiler.expression(spec.keep, POINT, ("points", "keep"))
        new = {str(name): source for name, source in spec.set.items()}
        return PointChanges(keep, tuple(self.compiler.members(new, POINT, ("points", "set")).items()))

    def _provider(self, name: str, at: KeyPath) -> Provider | None:
        provider = self.providers.get(name)
        if provider is None:
            hint = nearest(name, self.providers.keys())
            self.document.error((*at, "provider"), f"no provider named {name!r}", hint)
        return provider

    def _verify(self, spec: SourceSpec, receive: Receive, at: KeyPath) -> Sequence[Recipe]:
        if spec.verify is None:
            return receive.verify
        if not spec.verify:
            what = "no recipe is named, so that nothing would be verified"
            self.document.error((*at, "verify"), what, "leave `verify` out, or name one")
        by_name = {recipe.name: recipe for recipe in receive.verify}
        return self._picked(spec.verify, by_name, (*at, "verify"))

    def _picked(self, names: Sequence[str], by_name: Mapping[str, Recipe], at: KeyPath) -> list[Recipe]:
        for index, name in enumerate(names):
            if name not in by_name:
                hint = nearest(name, by_name.keys())
                self.document.error((*at, index), f"the provider has no recipe {name!r}", hint)
        return [by_name[name] for name in names if name in by_name]

    def _checks(self, spec: SourceSpec, recipes: Sequence[Recipe], at: KeyPath) -> tuple[Check, ...]:
        if spec.credentials == "none":
            what = "whoever reaches this route may report through it"
            self.document.warning((*at, "credentials"), what, "see that only the reporters can reach it")
            return ()
        if not spec.credentials:
            what = "no credential is given, so that every report would be refused"
            self.document.error((*at, "credentials"), what, "name one, or write `credentials: none`")
        for index, credential in enumerate(spec.credentials if recipes else ()):
            if not any(_serves(credential, recipe) for recipe in recipes):
                self._unserved(credential, recipes, (*at, "credentials", index))
        pins = {name: str(value) for name, value in spec.given.items()}
        checks = []
        for recipe in recipes:
            fitting = [_credential(each) for each in spec.credentials if _serves(each, recipe)]
            self._check_rotation(fitting, (*at, "credentials"))
            if fitting:
                checks.append(Check(recipe, make_keyring(fitting), pins))
        return tuple(checks)

    def _check_rotation(self, credentials: Sequence[Credential], at: KeyPath) -> None:
        keys = [credential.key for credential in credentials if credential.key is not None]
        for key in sorted(set(keys)):
            if keys.count(key) > MAX_SECRETS_PER_KEY:
                self.document.error(at, f"the key {key!r} has more than {MAX_SECRETS_PER_KEY} secrets")

    def _unserved(self, credential: CredentialSpec, recipes: Iterable[Recipe], at: KeyPath) -> None:
        names = ", ".join(recipe.name for recipe in recipes) or "no recipe"
        if credential.recipe is not None:
            self.document.error((*at, "recipe"), f"{credential.recipe!r} is not among {names}")
        elif credential.key is None:
            self.document.error(at, f"a secret without a key serves none of {names}", "add `key:`")
        else:
            self.document.error(at, f"a key with a secret serves none of {names}", "leave `key:` out")

    def _call(self, spec: TargetSpec, send: Send, at: KeyPath) -> tuple[CallForm, Recipe | None] | None:
        """Return the form of call, and the recipe that signs it: what the route names, else the first that fits."""
        forms = [form for form in send.requests if spec.request in (None, form.name)]
        if not forms:
            known = [form.name for form in send.requests]
            self.document.error(
                (*at, "request"), f"no request is named {spec.request!r}", nearest(spec.request or "", known)
            )
            return None
        if spec.credential is None and spec.sign is None:
            unsigned = next((form for form in forms if not form.sign), None)
            if unsigned is None:
                self.document.error(at, "'credential' is missing: calls to this provider are signed")
            return None if unsigned is None else (unsigned, None)
        for form in forms:
            for recipe in form.sign:
                fits = spec.credential is not None and _serves(spec.credential, recipe)
                if fits and spec.sign in (None, recipe.name):
                    return form, recipe
        recipes = {recipe.name: recipe for form in forms for recipe in form.sign}
        if spec.sign is not None and spec.sign not in recipes:
            hint = nearest(spec.sign, recipes.keys())
            self.document.error((*at, "sign"), f"the provider has no recipe {spec.sign!r}", hint)
        elif spec.credential is not None:
            self._unserved(spec.credential, recipes.values(), (*at, "credential"))
        else:
            self.document.error(at, "'credential' is missing: calls to this provider are signed")
        return None

    def _url(
        self, spec: TargetSpec, provider: Provider, given: Mapping[str, Any], at: KeyPath
    ) -> tuple[str, str, str] | None:
        url = spec.url
        if url is None and provider.url is not None:
            try:
                url = provider.url({"given": given})
            except EvaluationError as error:
                self.document.error((*at, "given"), str(error))
                return None
        if url is None:
            self.document.error(at, "'url' is missing, and the provider has none")
            return None
        try:
            parts = urlsplit(url)
            sound = _PRINTABLE.fullmatch(url) is not None and parts.port != 0
        except ValueError:
            sound = False
        if not sound or parts.scheme not in ("http", "https") or not parts.hostname:
            self.document.error((*at, "url"), "this is not a URL", "write http://HOST[:PORT] or https://HOST[:PORT]")
            return None
        if parts.username is not None or parts.query or parts.fragment:
            self.document.error((*at, "url"), "a target's URL has neither user, query nor fragment")
            return None
        return parts.scheme, parts.netloc, parts.path.rstrip("/")

    def _check_given(
        self, given: Mapping[str, Any], provider: Provider, recipes: Iterable[Recipe], at: KeyPath
    ) -> None:
        slots = {name for recipe in recipes for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)}
        paths = {
            name for form in (provider.receive.requests if provider.receive else ()) for name in captures(form.path)
        }
        known = {*provider.given, *provider.needs, *slots, *paths}
        for name in given:
            if name not in known:
                hint = nearest(name, known)
                self.document.error((*at, "given", name), f"nothing in {provider.name} reads `given.{name}`", hint)

    def _rules(self, provider: Provider, specs: Mapping[Any, RuleSpec], at: KeyPath) -> tuple[Rule, ...]:
        """Return the provider's rules, each key that the route states in the place of the provider's."""
        rules = dict(provider.rules)
        for field, spec in specs.items():
            own = build_rule(field, spec, self.compiler, self.document, (*at, field))
            stated = {name: getattr(own, name) for name in spec.model_fields_set}
            rules[field] = replace(rules[field], **stated) if field in rules else own
        return tuple(rules.values())


def _serves(credential: CredentialSpec, recipe: Recipe) -> bool:
    """Tell whether the credential fills exactly the slots of the recipe."""
    return credential.recipe in (None, recipe.name) and recipe.needs_key == (credential.key is not None)


def _credential(spec: CredentialSpec) -> Credential:
    return Credential(spec.secret, spec.key, spec.recipe)
