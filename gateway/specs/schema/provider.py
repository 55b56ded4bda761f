"""From a provider's YAML to a provider: expressions compiled with the names they may see, recipes resolved."""

from collections.abc import Callable, Mapping

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import KeyPath
from gateway.core.recipe.model import GivenSlot, Recipe
from gateway.core.sending.build import path_segment
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.specs.check.roles import check_roles
from gateway.specs.schema.limits import build_limits
from gateway.specs.schema.models import (
    ProviderSpec,
)
from gateway.specs.schema.parts import Parts, attributes_read
from gateway.specs.schema.receive import build_receive, captures
from gateway.specs.schema.rule import build_rule
from gateway.specs.schema.send import build_send
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import to_python


def build_provider(
    document: Document, recipes: Mapping[str, Recipe], on_value: Callable[[KeyPath], None] | None = None
) -> tuple[Provider, Compiler] | None:
    """Return the provider and what compiled it, or None when the document has errors; they are reported."""
    spec = document.read(ProviderSpec, to_python(document.node))
    if spec is None:
        return None
    check_roles(document, spec)
    if document.errors:
        return None
    parts = Parts(document, recipes, Compiler(on_value))
    provider = _build(parts, spec)
    _check_given(parts, spec, provider)
    document.problems(parts.compiler.problems)
    document.slow_patterns(parts.compiler.patterns)
    return (provider, parts.compiler) if not document.errors and not document.lacks else None


def _build(parts: Parts, spec: ProviderSpec) -> Provider:
    receive = None if spec.receive is None else build_receive(parts, spec.receive, relay=spec.relay)
    send = None if spec.send is None else build_send(parts, spec.send, relay=spec.relay)
    if receive is None and send is None:
        parts.document.error((), "a provider has `receive`, `send`, or both")
    url = spec.send.url if spec.send and spec.send.url else spec.url
    url_at = ("send", "url") if spec.send and spec.send.url else ("url",)
    return Provider(
        spec.provider,
        spec.title or spec.provider,
        tuple(spec.needs),
        dict(spec.given),
        None if url is None else parts.compiler.text(url, {"given"}, url_at, escape=path_segment),
        build_limits(spec.limits),
        {
            field: build_rule(field, rule, parts.compiler, parts.document, ("rules", field))
            for field, rule in spec.rules.items()
        },
        receive,
        send,
        spec.relay,
        _attribute_names(parts, spec),
    )


def _attribute_names(parts: Parts, spec: ProviderSpec) -> frozenset[str]:
    """Return the attributes that the mappings read or write by name."""
    written = spec.receive.point.get("attributes") if spec.receive else None
    return attributes_read(parts.compiler) | (written.keys() if isinstance(written, dict) else set())


def _check_given(parts: Parts, spec: ProviderSpec, provider: Provider) -> None:
    """Report each given that nothing reads, and each that is read and is not declared."""
    declared = {*spec.given, *spec.needs}
    read = {chain[1]: at for chain, at in parts.compiler.read.items() if chain[0] == "given" and len(chain) > 1}
    used = read.keys() | {name for recipe in _recipes_of(provider) for name in _given_slots(recipe)}
    if provider.receive is not None:
        captured = {name for form in provider.receive.requests for name in captures(form.path)}
        used |= captured
        declared |= captured
    whole = ("given",) in parts.compiler.read
    for name in sorted(declared - used) if not whole else ():
        at = ("given", name) if name in spec.given else ("needs", spec.needs.index(name))
        parts.document.error(at, f"nothing reads `given.{name}`", "leave it out")
    for name in sorted(read.keys() - declared):
        hint = did_you_mean(name, declared) if declared else "name it there"
        parts.document.error(read[name], f"`given.{name}` is neither under `needs` nor under `given`", hint)


def _recipes_of(provider: Provider) -> list[Recipe]:
    recipes: list[Recipe] = []
    if provider.receive is not None:
        recipes += provider.receive.verify
        recipes += [
            recipe for form in provider.receive.requests if form.local_call for recipe in form.local_call.verify
        ]
    if provider.send is not None:
        login, poll = provider.send.login, provider.send.poll
        recipes += [recipe for form in provider.send.requests for recipe in form.sign]
        recipes += [each for each in (login and login.sign, poll and poll.sign) if isinstance(each, Recipe)]
    return recipes


def _given_slots(recipe: Recipe) -> list[str]:
    return [name for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)]
