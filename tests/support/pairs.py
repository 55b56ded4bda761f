"""Every pair of reporting providers: a route between the two, what a reporter of the one can state, and both ends.

Nothing here knows a provider: routes are made from what the providers declare, and loaded as YAML.
"""

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from gateway.app import Gateway, Settings
from gateway.commands.report import reporter_route, send_report
from gateway.commands.roles.vendor import Vendor, vendor_route
from gateway.core.http.request import PublicUrl, Response, Secret
from gateway.core.moments import NS
from gateway.core.outcome.outcome import Outcome
from gateway.core.points.changes import change_point
from gateway.core.points.decode import Item
from gateway.core.points.point import DataPoint, Number
from gateway.core.points.rules import Dropped, Rule, Violation
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Signed
from gateway.core.recipe.slots import KeySlot, SecretSlot
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from gateway.delivery.transport import Purpose
from gateway.proof.capabilities import Capabilities, probe_capabilities
from gateway.proof.loss import expressible_by, find_loss, route_loss
from gateway.proof.probe import NAME, NOW_NS, PROBE, UNITS, ProbeFailed, own_targets, round_trip
from gateway.specs.load import load

UPSTREAM = "upstream.invalid"
TEXTS = ("5eed0123456789abcdef5eed01234567", "a-key", "someone")
# What a route says of a field that its target requires and its reporters cannot state.
SET = {"namespace": "'pair'", "metric": "'pair'", "unit": "'1'", "attributes": {"pair": "'pair'"}}
UNIT_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "minute": 60 * 10**9}
QUIET = Settings(listen="127.0.0.1:0", admin=None, grace_s=0)

PROVIDERS = {
    name: provider
    for name, provider in load(None, {}).providers.items()
    if not provider.relay and provider.receive is not None and provider.send is not None
}
PAIRS = list(product(PROVIDERS, repeat=2))


def first_recipe(provider: Provider) -> Recipe:
    """Return the first recipe that the provider's reporters sign by and the provider itself knows."""
    assert provider.send is not None and provider.receive is not None
    known = {recipe.name for recipe in provider.receive.verify}
    return next(each for form in provider.send.requests for each in form.sign if each.name in known)


def credential_of(provider: Provider) -> Credential:
    """Return a credential for the first recipe, in characters that its carriers take."""
    recipe = first_recipe(provider)
    chars = {type(slot): slot.chars for slot in recipe.slots.values() if isinstance(slot, KeySlot | SecretSlot)}
    secret = _text(chars.get(SecretSlot, ".+"))
    return Credential(Secret(secret), _text(chars[KeySlot]) if recipe.key else None)


def _text(chars: str) -> str:
    return next(text for text in TEXTS if re.fullmatch(chars, text))


def given_of(provider: Provider) -> dict[str, str]:
    return {name: name for name in provider.needs if name not in provider.given}


@dataclass(frozen=True, slots=True)
class Way:
    """A route between two providers, what is lost on it, and what its target holds."""

    route: Route
    lost: frozenset[str]
    held: Capabilities
    stated: Capabilities

    @property
    def has_time(self) -> bool:
        """Tell whether the reporter's own time arrives, however finely."""
        return self.stated.has_time and self.held.resolution != "none"


@cache
def way(source: str, target: str) -> Way:
    """Return a route that names what is lost between the two and sets what would be missing, loaded from YAML."""
    stated = expressible_by(PROVIDERS[source], names=PROVIDERS[target].attribute_names)
    with TemporaryDirectory() as folder:
        document = _document(PROVIDERS[source], PROVIDERS[target], stated)
        (Path(folder) / "route.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        specs = load(Path(folder), {"UPSTREAM": f"http://{UPSTREAM}"})
    assert [str(found) for found in specs.diagnostics] == []
    route = specs.routes["pair"]
    lost = frozenset(each.field for each in route_loss(route).lost)
    return Way(route, lost, probe_capabilities(route.target), stated)


def _document(source: Provider, target: Provider, stated: Capabilities) -> dict[str, Any]:
    loss = find_loss(stated, own_targets(target)[0])
    rounds = any(each.field == "value" and not each.whole for each in loss.lost)
    return {
        "route": "pair",
        "receive": {
            "provider": source.name,
            "credentials": [_credential(source)],
            "from": ["127.0.0.0/8"],
        },
        "points": {
            "allow_loss": [each.field for each in loss.lost if each.field != "stats"],
            "set": {name: SET[name] for name in loss.missing},
        },
        "send": {
            "provider": target.name,
            "url": "${UPSTREAM}",
            "credential": _credential(target),
            "given": given_of(target),
            "rules": {"value": {"integer": True, "fix": "round(value)"}} if rounds else {},
        },
    }


def _credential(provider: Provider) -> dict[str, str]:
    credential = credential_of(provider)
    return {"secret": credential.secret.reveal()} | ({"key": credential.key} if credential.key else {})


# What a reporter says.


def statements(route: Route, values: Sequence[Sequence[Number]], namespaces: Sequence[str]) -> list[DataPoint]:
    """Return a data point a second ago for each value, as the route's reporters can state it and its target takes it.

    Of the values for one data point, the first that both sides hold is taken.
    """
    shift_ns = int(time.time()) * NS - NOW_NS
    found = []
    for number, (choices, namespace) in enumerate(zip(values, namespaces, strict=True), 1):
        point = replace(PROBE, metric=f"load_{number}", namespace=namespace, unit=UNITS[-1])
        found.append(next(said for value in choices if (said := _said(route, replace(point, value=value)))))
    return [replace(point, time_ns=point.time_ns + shift_ns) for point in found]


def _said(route: Route, point: DataPoint) -> DataPoint | None:
    """Return the point with as many attributes as can be stated, among them those that either side knows by name."""
    source, target = route.source.provider, route.target.provider
    names = [NAME, *sorted(source.attribute_names | target.attribute_names)]
    for size in range(len(names), -1, -1):
        candidate = replace(point, attributes={name: f"{name}-1" for name in names[:size]})
        for unit in (point.unit, None):
            with suppress(ProbeFailed, Violation, Dropped):
                said = round_trip(own_targets(source)[0], replace(candidate, unit=unit))
                arrived = round_trip(route.target, change_point(route.points, said))
                if said.value == point.value and arrived.value in (said.value, round(said.value)):
                    return said
    return None


# What of it arrives.


def expected(on: Way, said: DataPoint) -> dict[str, Any]:
    """Return what has to arrive of a data point: all of it but what is computed as lost."""
    changed = change_point(on.route.points, said)
    assert changed.value is not None
    fields = {name: value for name, value in changed.as_mapping().items() if name not in on.lost}
    fields["value"] = round(changed.value) if "value" in on.lost else changed.value
    if "attributes" in on.lost:
        kept = on.held.attributes
        fields["attributes"] = {name: text for name, text in changed.attributes.items() if name in kept}
    if not on.has_time:
        fields.pop("time_ns", None)
    elif on.held.resolution in UNIT_NS:
        fields["time_ns"] = changed.time_ns // UNIT_NS[on.held.resolution] * UNIT_NS[on.held.resolution]
    return fields


def as_expected(arrived: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an arrived data point is compared: what has lost its name may hold it among its attributes."""
    fields = {name: arrived.get(name) for name in wanted}
    if "metric" not in wanted:
        known = wanted["attributes"]
        fields["attributes"] = {name: text for name, text in arrived["attributes"].items() if name in known}
    return fields


# Both ends.


@dataclass(slots=True)
class Watch:
    """Keeps the answers that a reporter got."""

    answers: list[Response] = field(default_factory=list)

    def on_exchange(self, purpose: Purpose, signed: Signed, answer: Response | None) -> None:
        if answer is not None and purpose == "call":
            self.answers.append(answer)

    def on_secret(self, secret: Secret) -> None:
        pass


@dataclass(slots=True)
class Pair:
    """A running gateway with one route, a reporter, and the data points of each call that its upstream took."""

    route: Route
    address: str
    calls: list[Sequence[dict[str, Any]]] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)

    @property
    def arrived(self) -> list[dict[str, Any]]:
        return [point for points in self.calls for point in points]

    async def report(self, points: Sequence[DataPoint]) -> Outcome:
        """Report as `gateway report` does, and return what the reporter makes of the answer."""
        provider = self.route.source.provider
        base = PublicUrl("http", self.address)
        reporter = reporter_route(provider, base, credential_of(provider), given_of(provider))
        items = [Item(index, None, point) for index, point in enumerate(points)]
        return await send_report(reporter, items, self.watch)


@asynccontextmanager
async def running(route: Route, *, rules: Sequence[Rule] = (), refusal: Outcome | None = None) -> AsyncIterator[Pair]:
    """Run a gateway before a vendor that is played as `gateway sink` plays it.

    The vendor has further rules, or refuses whatever comes.
    """
    calls: list[Sequence[dict[str, Any]]] = []
    provider = route.target.provider
    played = vendor_route(provider, credential_of(provider), {})
    source = replace(played.source, rules=(*played.source.rules, *rules))
    snapshot = make_snapshot([replace(played, source=source)])
    vendor = Gateway(snapshot, QUIET, delivery=Vendor(calls.append, refusal))
    async with listening(vendor) as host, before(route, host) as address:
        yield Pair(route, address, calls)


@asynccontextmanager
async def before(route: Route, host: str) -> AsyncIterator[str]:
    """Run a gateway whose route sends to this host, and give its address."""
    towards = replace(route, target=replace(route.target, url=replace(route.target.url, host=host)))
    async with listening(Gateway(make_snapshot([towards]), QUIET)) as address:
        yield address


@asynccontextmanager
async def listening(gateway: Gateway) -> AsyncIterator[str]:
    await gateway.start()
    try:
        yield gateway.address
    finally:
        await gateway.stop()
