"""What a route is once it is loaded, and how the route of a request is found."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import unquote

from gateway.core.expression import Expression
from gateway.core.model import PublicUrl, Secret
from gateway.core.provider import CallForm, Login, Provider, Receive, RequestMatch, Send
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Check
from gateway.core.rules import Rule

Network = IPv4Network | IPv6Network
_CAPTURE = re.compile(r"\\\{([A-Za-z_]\w*)\\\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The receiving side of a route. `checks` is None only where the route says `credentials: none`.

    `also_checks` are those of the calls without data points, by the call's name, None where nobody is asked. `pins` are
    the `given` that the route states: what a path captures under such a name has to equal it. `networks`, where not
    None, are those that reports may come from. `public_url` is what reporters sign who come through a proxy.
    """

    provider: Provider
    receive: Receive
    checks: tuple[Check, ...] | None
    given: Mapping[str, Any]
    rules: tuple[Rule, ...]
    pins: Mapping[str, str] = field(default_factory=dict)
    also_checks: Mapping[str, tuple[Check, ...] | None] = field(default_factory=dict)
    networks: tuple[Network, ...] | None = None
    public_url: PublicUrl | None = None
    hide_unknown_keys: bool = False
    max_body_bytes: int = 1_048_576
    read_timeout_s: float = 10

    def admits(self, peer: str) -> bool:
        """Tell whether reports may come from this address; where networks are named, an unknown address may not."""
        if self.networks is None:
            return True
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The sending side of a route. `base_path` is what its URL has before the path of a call.

    With a `login`, `credential` is what logs in, and `recipe` carries the session that it gives.
    """

    provider: Provider
    send: Send
    form: CallForm
    scheme: str
    host: str
    base_path: str
    recipe: Recipe | None
    credential: Credential | None
    given: Mapping[str, Any]
    rules: tuple[Rule, ...]
    login: Login | None = None
    connect_timeout_s: float = 2
    timeout_s: float = 5


@dataclass(frozen=True, slots=True)
class PointChanges:
    """What a route does to data points between the two sides: `keep` drops, `set` computes fields anew."""

    keep: Expression | None = None
    set: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One listening call and its target."""

    name: str
    source: Source
    target: Target
    points: PointChanges = PointChanges()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret of the route, for masking."""
        every = (self.source.checks, *self.source.also_checks.values())
        received = [secret for checks in every for check in checks or () for secret in check.keyring.secrets()]
        return (*received, self.target.credential.secret) if self.target.credential else tuple(received)


@dataclass(frozen=True, slots=True)
class Match:
    """The route of a request, the form of call it is, and what its path captured. `form` is None for a wrong method."""

    route: Route
    form: RequestMatch | None
    captured: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All routes of one load. Finding a route costs the same however many there are, unless paths capture."""

    routes: tuple[Route, ...] = ()
    _fixed: Mapping[str, Sequence[tuple[Route, RequestMatch]]] = field(default_factory=dict, repr=False)
    _capturing: Sequence[tuple[re.Pattern[str], Route, RequestMatch]] = field(default=(), repr=False)

    def match(self, method: str, path: str) -> Match | None:
        """Find the route for a method and a raw path; None when no route has the path."""
        wrong_method = None
        for route, form, captured in self._candidates(path):
            if any(route.source.pins.get(name, value) != value for name, value in captured.items()):
                continue
            if form.method == method:
                return Match(route, form, captured)
            wrong_method = wrong_method or Match(route, None, captured)
        return wrong_method

    def _candidates(self, path: str) -> Sequence[tuple[Route, RequestMatch, Mapping[str, str]]]:
        fixed = self._fixed.get(path)
        if fixed is not None:
            return [(route, form, {}) for route, form in fixed]
        found = [(pattern.fullmatch(path), route, form) for pattern, route, form in self._capturing]
        return [(route, form, _decoded(match.groupdict())) for match, route, form in found if match]


def _decoded(captured: Mapping[str, str]) -> dict[str, str]:
    return {name: unquote(value) for name, value in captured.items()}


def make_snapshot(routes: Sequence[Route]) -> Snapshot:
    """Index routes by path."""
    fixed: dict[str, list[tuple[Route, RequestMatch]]] = {}
    capturing = []
    for route in routes:
        for form in route.source.receive.requests:
            if "{" in form.path:
                capturing.append((path_pattern(form.path), route, form))
            else:
                fixed.setdefault(form.path, []).append((route, form))
    return Snapshot(tuple(routes), fixed, tuple(capturing))


def path_pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of a path whose `{name}`s each capture one segment."""
    return re.compile(_CAPTURE.sub(r"(?P<\1>[^/]+)", re.escape(path)))
