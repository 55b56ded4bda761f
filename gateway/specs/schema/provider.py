"""The keys of a provider, and the checks across it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import KeyPath, Text
from gateway.core.recipe.model import GivenSlot, Recipe
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider, Receive, Send
from gateway.specs.binding.place import Invalid, Place, Scope
from gateway.specs.binding.table import Key, Table
from gateway.specs.binding.types import ANYTHING, BOOLEAN, MEMBER_NAME, NAME, TEXT, list_of, map_of, text
from gateway.specs.check.roles import check_roles
from gateway.specs.schema.cases import CASES
from gateway.specs.schema.receive import RECEIVE, captures
from gateway.specs.schema.rules import LIMITS, RULES, make_limits, make_rules
from gateway.specs.schema.send import SEND, URL
from gateway.specs.yaml.document import Document

GIVEN = map_of(ANYTHING, MEMBER_NAME)


def build_provider(
    document: Document, recipes: Mapping[str, Recipe], on_value: Callable[[KeyPath], None] | None = None
) -> tuple[Provider, Compiler] | None:
    """Return the provider and what compiled it, or None when the document has errors; they are reported."""
    relay = getattr(document.node.entries.get("relay"), "value", None) is True
    scope = Scope(document, Compiler(on_value), recipes, relay=relay)
    check_roles(document, relay)
    if document.errors:
        return None
    try:
        provider: Provider | None = PROVIDER.read(Place(scope, document.node))
    except Invalid:
        provider = None
    document.problems(scope.compiler.problems)
    document.slow_patterns(scope.compiler.patterns)
    return None if provider is None or document.errors or document.lacks else (provider, scope.compiler)


def _provider(
    at: Place,
    provider: str,
    title: str = "",
    relay: bool = False,
    needs: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    url: Text | None = None,
    limits: Mapping[str, Any] | None = None,
    rules: Mapping[str, Mapping[str, Any]] | None = None,
    receive: Receive | None = None,
    send: tuple[Send, Text | None] | None = None,
    cases: Sequence[Any] = (),
) -> Provider:
    if receive is None and send is None:
        at.error("a provider has `receive`, `send`, or both")
    attributes = at.plain.get("receive", {}).get("point", {}).get("attributes")
    written = attributes.keys() if isinstance(attributes, dict) else set()
    own_send, send_url = send or (None, None)
    built = Provider(
        provider,
        title or provider,
        tuple(needs),
        given or {},
        send_url or url,
        make_limits(limits or {}),
        make_rules(rules or {}),
        receive,
        own_send,
        relay,
        attributes_read(at.scope.compiler) | written,
    )
    _check_given(at, built)
    return built


PROVIDER = Table(
    "provider",
    _provider,
    Key("provider", NAME, "the name"),
    Key("title", TEXT, "a title for people"),
    Key("relay", BOOLEAN, "`true`: its calls have no data points, see [relay](#relay)"),
    Key("needs", list_of(text(MEMBER_NAME)), "names of `given` values that a route must fill in to send"),
    Key("given", GIVEN, "defaults of `given` values"),
    Key("url", URL, "the default destination of calls", lambda at: {"given"}),
    Key("limits", LIMITS, "what one call may contain, see [limits](#limits)"),
    Key("rules", RULES, "rules by the field of a data point, see [rules](#rules)"),
    Key("receive", RECEIVE, "how the gateway acts as the vendor, see [receive](#receive)"),
    Key("send", SEND, "how the gateway acts as a client of the vendor, see [send](#send)"),
    Key("cases", CASES, "test cases, see [cases](#cases)"),
)


def attributes_read(compiler: Compiler) -> frozenset[str]:
    """Return the names of the attributes that a document's expressions read."""
    return frozenset(chain[1] for chain in compiler.read if chain[0] == "attributes" and len(chain) > 1)


def _check_given(at: Place, provider: Provider) -> None:
    """Report each given that nothing reads, and each that is read and is not declared."""
    declared = {*provider.given, *provider.needs}
    reads = at.scope.compiler.read
    read = {chain[1]: path for chain, path in reads.items() if chain[0] == "given" and len(chain) > 1}
    used = read.keys() | {name for recipe in _recipes_of(provider) for name in given_slots(recipe)}
    if provider.receive is not None:
        captured = {name for form in provider.receive.requests for name in captures(form.path)}
        used |= captured
        declared |= captured
    for name in sorted(declared - used) if ("given",) not in reads else ():
        path = ("given", name) if name in provider.given else ("needs", provider.needs.index(name))
        at.error(f"nothing reads `given.{name}`", "leave it out", *path)
    for name in sorted(read.keys() - declared):
        hint = did_you_mean(name, declared) if declared else "name it there"
        at.error(f"`given.{name}` is neither under `needs` nor under `given`", hint, *read[name])


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


def given_slots(recipe: Recipe) -> list[str]:
    return [slot.name for slot in recipe.slots_of(GivenSlot)]
