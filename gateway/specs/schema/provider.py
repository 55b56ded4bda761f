"""The keys of a provider, and the checks across it."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import Text
from gateway.core.recipe.model import Recipe
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider, Receive, Send
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place, Scope
from gateway.specs.binding.table import Key, Table, optional, read_document
from gateway.specs.schema.cases import CASES
from gateway.specs.schema.receive import RECEIVE, captures
from gateway.specs.schema.rules import LIMITS, RULES, make_limits, make_rules
from gateway.specs.schema.send import SEND, URL
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode, MapNode, Node

GIVEN = t.map_of(t.ANYTHING, t.MEMBER_NAME)


def build_provider(document: Document, recipes: Mapping[str, Recipe]) -> Provider | None:
    """Return the provider, or None when the document has errors; they are reported."""
    relay = getattr(document.node.entries.get("relay"), "value", None) is True
    check_roles(document, relay)
    if document.errors:
        return None
    provider: Provider | None = read_document(
        PROVIDER, Place(Scope(document, recipes=recipes, relay=relay), document.node)
    )
    return provider


def _provider(
    at: Place,
    name: str,
    title: str,
    url: Text | None,
    limits: Mapping[str, Any],
    rules: Mapping[str, Mapping[str, Any]],
    send: tuple[Send, Text | None] | None,
    cases: Any,
    **keys: Any,
) -> Provider:
    receive: Receive | None = keys["receive"]
    if receive is None and send is None:
        at.error("a provider has `receive`, `send`, or both")
    written = at.plain.get("receive", {}).get("point", {}).get("attributes")
    own_send, own_url = send or (None, None)
    provider = Provider(
        name=name,
        title=title or name,
        url=own_url or url,
        limits=make_limits(limits),
        rules=make_rules(rules),
        send=own_send,
        attribute_names=attributes_read(at.scope.compiler).union(written if isinstance(written, dict) else ()),
        **keys,
    )
    _check_given(at, provider)
    return provider


PROVIDER = Table(
    "provider",
    _provider,
    Key("provider", t.NAME, "the name", to="name"),
    optional("title", t.TEXT, "a title for people", ""),
    optional("relay", t.BOOLEAN, "`true`: its calls have no data points, see [relay](#relay)", False),
    optional("needs", t.list_of(t.text(t.MEMBER_NAME)), "names of `given` values that a route must fill in", ()),
    optional("given", GIVEN, "defaults of `given` values", {}),
    optional("url", URL, "the default destination of calls", sees=lambda at: {"given"}),
    optional("limits", LIMITS, "what one call may contain, see [limits](#limits)", {}),
    optional("rules", RULES, "rules by the field of a data point, see [rules](#rules)", {}),
    optional("receive", RECEIVE, "how the gateway acts as the vendor, see [receive](#receive)"),
    optional("send", SEND, "how the gateway acts as a client of the vendor, see [send](#send)"),
    optional("cases", CASES, "test cases, see [cases](#cases)", ()),
)


def attributes_read(compiler: Compiler) -> frozenset[str]:
    """Return the names of the attributes that a document's expressions read."""
    return frozenset(chain[1] for chain in compiler.read if chain[0] == "attributes" and len(chain) > 1)


def _check_given(at: Place, provider: Provider) -> None:
    """Report each given that nothing reads, and each that is read and is not declared."""
    declared = {*provider.given, *provider.needs}
    reads = at.scope.compiler.read
    read = {chain[1]: path for chain, path in reads.items() if chain[0] == "given" and len(chain) > 1}
    used, recipes = {*read}, list[Any]()
    if provider.receive is not None:
        captured = {name for form in provider.receive.requests for name in captures(form.path)}
        used |= captured
        declared |= captured
        recipes += [*provider.receive.verify, *provider.receive.local_recipes]
    if provider.send is not None:
        recipes += [recipe for form in provider.send.requests for recipe in form.sign]
        recipes += [each.sign for each in (provider.send.login, provider.send.poll) if each is not None]
    used |= {name for recipe in recipes if isinstance(recipe, Recipe) for name in given_slots(recipe)}
    for name in sorted(declared - used) if ("given",) not in reads else ():
        path = ("given", name) if name in provider.given else ("needs", provider.needs.index(name))
        at.error(f"nothing reads `given.{name}`", "leave it out", *path)
    for name in sorted(read.keys() - declared):
        hint = did_you_mean(name, declared) if declared else "name it there"
        at.error(f"`given.{name}` is neither under `needs` nor under `given`", hint, *read[name])


def given_slots(recipe: Recipe) -> list[str]:
    return [slot.name for slot in recipe.given]


_OF_REPORTS = {
    (): ("limits", "rules"),
    ("receive",): ("each", "point", "reject_item", "on_bad_item", "allow_empty"),
    ("receive", "replies"): ("ok", "partial"),
    ("send",): ("group_by", "item", "declare", "outcome"),
}
_OF_REPORT_ROUTES = {(): ("points", "mirrors"), ("receive",): ("rules",), ("send",): ("rules",)}
_REQUIRED = {("receive",): ("each", "point"), ("receive", "replies"): ("ok",), ("send",): ("item",)}


def check_roles(document: Document, relay: bool) -> None:
    """Report the keys of a provider that its kind of call does not use, and those that it lacks."""
    if relay:
        what = "`relay: true` has no `…`: its calls contain no data points, and answers are passed on"
        _reject(document, _OF_REPORTS, what)
        return
    for path, names in _REQUIRED.items():
        part = _map_at(document, path)
        for name in names:
            if part is not None and name not in part.entries:
                document.error(path, f"{name!r} is missing")
    point = _map_at(document, ("receive", "point"))
    for needed, alternative in (("metric", "metric"), ("value", "stats")):
        if point is not None and not {needed, alternative} & point.entries.keys():
            document.error(("receive", "point"), f"{needed!r} is missing")


def check_sides(document: Document, source: Provider, target: Provider) -> None:
    """Report a route between a relay and reports, and keys that a route of relays does not use."""
    if source.relay != target.relay:
        relay, other = (source, target) if source.relay else (target, source)
        what = f"{relay.name} is a relay and {other.name} is not: calls cannot become data points, or data points calls"
        document.error(("send", "provider"), what)
    elif source.relay:
        what = "a route between relays has no `…`: there are no data points"
        _reject(document, _OF_REPORT_ROUTES, what)


def _reject(document: Document, keys: Mapping[tuple[str, ...], tuple[str, ...]], what: str) -> None:
    """Report each of these keys that the document states, by name in place of `…`, and the data points of cases."""
    for path, names in keys.items():
        part = _map_at(document, path)
        for name in names:
            if part is not None and name in part.entries:
                document.error((*path, name), what.replace("…", name), "leave it out", at_key=True)
    cases = document.node.entries.get("cases")
    for index, case in enumerate(cases.items if isinstance(cases, ListNode) else ()):
        if isinstance(case, MapNode) and "points" in case.entries:
            document.error(("cases", index, "points"), "a relay has no `points`", at_key=True)


def _map_at(document: Document, path: Sequence[str]) -> MapNode | None:
    node: Node | None = document.node
    for step in path:
        node = node.entries.get(step) if isinstance(node, MapNode) else None
    return node if isinstance(node, MapNode) else None
