"""What a route is once it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from ssl import SSLContext
from typing import Any, Literal

from gateway.core.expression import Expression
from gateway.core.http.received import DEFAULT_CAPS, Caps
from gateway.core.http.request import PublicUrl, Secret
from gateway.core.points.point import STATISTICS
from gateway.core.points.rules import Rule
from gateway.core.recipe.keyring import Credential, digest_of
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.matching import ANY_REQUEST, RequestMatcher
from gateway.core.vendor.provider import UNLIMITED, CallForm, Limits, Login, Provider, Receive, Send

Network = IPv4Network | IPv6Network
Mode = Literal["direct", "queued"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The receiving side of a route. `checks` is None only where the route says `credentials: none`.

    `local_checks` has those of each local call by its name, None where it needs no credentials. `pins` are
    the `given` that the route states: what a path captures under such a name has to equal it. `match` is what a request
    must have to be this route's, and `path` what stands before the provider's own paths. `networks`, where not None,
    are those that reports may come from. `public_url` is what reporters sign who come through a proxy. `caps` are those
    of a report.
    """

    provider: Provider
    receive: Receive
    checks: tuple[Verifier, ...] | None
    given: Mapping[str, Any]
    rules: tuple[Rule, ...]
    pins: Mapping[str, str] = field(default_factory=dict)
    local_checks: Mapping[str, tuple[Verifier, ...] | None] = field(default_factory=dict)
    networks: tuple[Network, ...] | None = None
    match: RequestMatcher = ANY_REQUEST
    path: str = ""
    public_url: PublicUrl | None = None
    hide_unknown_keys: bool = False
    max_body_bytes: int = 1_048_576
    caps: Caps = DEFAULT_CAPS
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

    With a `login`, `credential` is what logs in, and `recipe` carries the session that it gives. `holds_stats` are the
    statistics that its calls have a place for. `tls` is for whoever connects; None stands for what the system trusts.
    `tls_keys` are its keys as they are written. `stated` names those of `given` that the route states itself. `secrets`
    are all those of the route, to be masked in what the upstream says. `name` is `send`, or that of a mirror; a
    `queued` target gets its data points from the store.
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
    stated: frozenset[str] = frozenset()
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    login: Login | None = None
    holds_stats: frozenset[str] = frozenset(STATISTICS)
    limits: Limits = UNLIMITED
    name: str = "send"
    queued: bool = False
    connect_timeout_s: float = 2
    timeout_s: float = 5
    coalesce: bool = True
    tls: SSLContext | None = None
    tls_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def mode(self) -> Mode:
        return "queued" if self.queued else "direct"

    @property
    def url(self) -> PublicUrl:
        return PublicUrl(self.scheme, self.host, self.base_path)

    @property
    def account(self) -> tuple[str, ...]:
        """Where and as whom the upstream knows us: what it keeps for one account, it does not for another."""
        where = f"{self.scheme}://{self.host}{self.base_path}"
        if self.credential is None:
            return (where,)
        return (where, self.credential.key or "", digest_of(self.credential.secret.reveal()).hex())


@dataclass(frozen=True, slots=True)
class PointChanges:
    """What a route does to data points between the two sides: `keep` drops, `set` computes fields anew.

    `stats` names the one statistic that becomes the value; `allow_loss` the fields whose loss is accepted.
    """

    keep: Expression | None = None
    set: tuple[tuple[str, Expression], ...] = ()
    stats: str | None = None
    allow_loss: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One listening call and its targets: what the first of them says counts, `mirrors` get the data points too."""

    name: str
    source: Source
    target: Target
    points: PointChanges = PointChanges()
    mirrors: tuple[Target, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target, *self.mirrors)

    @property
    def is_queued(self) -> bool:
        """Whether data points are kept on disk, for the target or a mirror."""
        return any(target.queued for target in self.targets)

    def target_named(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)

    @property
    def is_relay(self) -> bool:
        """Whether its requests are passed on as requests; both of its sides are relays then."""
        return self.source.provider.relay

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret of the route, for masking."""
        every = (self.source.checks, *self.source.local_checks.values())
        received = [secret for checks in every for check in checks or () for secret in check.keyring.secrets()]
        sent = [target.credential.secret for target in self.targets if target.credential]
        return (*received, *sent)
