"""A loaded route: its source, its targets, and the changes between them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Literal

from gateway.core.expression import EvaluationError, Expression
from gateway.core.http.received import DEFAULT_CAPS, BodyKind, Caps
from gateway.core.http.request import Headers, PublicUrl, Secret
from gateway.core.points.point import STATISTICS, DataPoint
from gateway.core.points.rules import Rule, compile_rules
from gateway.core.recipe.keyring import Credential, digest_of
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import max_added_bytes
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.matching import ANY_REQUEST, RequestMatcher
from gateway.core.vendor.provider import UNLIMITED, CallForm, Limits, Login, Provider, Receive, Send

Network = IPv4Network | IPv6Network
Mode = Literal["direct", "queued"]
Head = tuple[str, Headers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The receiving side of a route.

    `verifiers` are those of reports, None with `credentials: none`. `local_verifiers` are those of each local call by
    name, None if the call accepts any caller. `pins` are the `given` values of the route: a captured path segment of
    that name must be equal. `match` and the prefix `path` select the route's requests. `networks` are the allowed
    client networks, None for all. `public_url` is the URL that reporters behind a proxy sign. `caps` are the limits of
    a report. `admits` tells whether a client's address is in one of the networks.
    """

    provider: Provider
    receive: Receive
    verifiers: tuple[Verifier, ...] | None
    given: Mapping[str, Any]
    rules: tuple[Rule, ...]
    pins: Mapping[str, str] = field(default_factory=dict)
    local_verifiers: Mapping[str, tuple[Verifier, ...] | None] = field(default_factory=dict)
    networks: tuple[Network, ...] | None = None
    match: RequestMatcher = ANY_REQUEST
    path: str = ""
    public_url: PublicUrl | None = None
    hide_unknown_keys: bool = False
    max_body_bytes: int = 1_048_576
    caps: Caps = DEFAULT_CAPS
    read_timeout_s: float = 10
    admits: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Computed once per address.
        object.__setattr__(self, "admits", lru_cache(maxsize=1024)(partial(_is_within, self.networks)))


def _is_within(networks: tuple[Network, ...] | None, peer: str) -> bool:
    """Whether an address is in one of the allowed networks. An invalid address is in none."""
    if networks is None:
        return True
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How calls to `https://` are verified: PEM files, and `strict` for the profile of RFC 5280.

    `ca` replaces the CAs of the system. `cert` and `key` are a client certificate. `fingerprints` differ if the files
    have changed.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    strict: bool = True
    fingerprints: tuple[tuple[int, ...] | None, ...] = ()


def head_of(form: CallForm, url: PublicUrl, names: Mapping[str, Any]) -> Head:
    """Return the path and the headers of a call. Raises EvaluationError or ValueError."""
    headers = tuple([(name, value) for name, text in form.headers if (value := text(names)) is not None])
    return url.prefix + (form.path(names) or "/"), headers


class _Known(dict[str, Any]):
    """Names that are known when a route is loaded. Raises KeyError for any other name."""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The sending side of a route: `send`, or a mirror with its `name`.

    `url` precedes the path of each call. With a `login`, `credential` logs in and `recipe` carries the session.
    `holds_stats` are the statistics that its calls can carry. `tls` is None for the default settings. `stated`
    names the `given` values that the route sets itself. `secrets` are all secrets of the route, masked in answers. A
    `queued` target reads its data points from the queue. `account` is the URL and the credential: an upstream keeps
    declarations, sessions and limits per account. `signature_bytes` is an upper bound of the bytes that a
    signature adds to a body. `head` is the path and the headers of `form` if they are the same for all calls.
    """

    provider: Provider
    send: Send
    form: CallForm
    url: PublicUrl
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
    tls: TlsSettings | None = None
    account: tuple[str, ...] = field(init=False, repr=False)
    signature_bytes: int = field(init=False)
    head: Head | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        credential = self.credential
        owner = (credential.key or "", digest_of(credential.secret.reveal()).hex()) if credential else ()
        object.__setattr__(self, "head", None)
        object.__setattr__(self, "account", (f"{self.url.scheme}://{self.url.host}{self.url.prefix}", *owner))
        kind: BodyKind = "json" if self.form.json else "form" if self.form.form else "text"
        added = max_added_bytes(self.recipe, credential, self.given, kind) if self.recipe and credential else 0
        object.__setattr__(self, "signature_bytes", added)
        with suppress(KeyError, ValueError, EvaluationError):
            object.__setattr__(self, "head", head_of(self.form, self.url, _Known(given=self.given)))

    @property
    def mode(self) -> Mode:
        return "queued" if self.queued else "direct"


@dataclass(frozen=True, slots=True)
class PointChanges:
    """The changes of a route to data points: `keep` filters points, `set` computes fields.

    `stats` is the statistic that becomes the value. `allow_loss` lists the fields whose loss is accepted.
    """

    keep: Expression | None = None
    set: tuple[tuple[str, Expression], ...] = ()
    stats: str | None = None
    allow_loss: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no data point is filtered or changed, except for its statistics."""
        return self.keep is None and not self.set


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A source with its target, whose outcome the reporter gets. `mirrors` get the data points as well.

    Unless the route changes data points, `obeys` has a function for each target by name, which tells whether a data
    point obeys all rules of the source and of that target.
    """

    name: str
    source: Source
    target: Target
    points: PointChanges = PointChanges()
    mirrors: tuple[Target, ...] = ()
    obeys: Mapping[str, Callable[[DataPoint, int], bool]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        obeys = {target.name: compile_rules((*self.source.rules, *target.rules)) for target in self.targets}
        object.__setattr__(self, "obeys", obeys if self.points.is_empty else {})

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target, *self.mirrors)

    @property
    def is_queued(self) -> bool:
        """Whether the target or a mirror stores data points in the queue."""
        return any(target.queued for target in self.targets)

    def target_named(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)

    @property
    def is_relay(self) -> bool:
        """Whether both sides are relays, which pass requests on without data points."""
        return self.source.provider.relay

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All secrets of the route, for masking."""
        every = (self.source.verifiers, *self.source.local_verifiers.values())
        received = [secret for each in every for verifier in each or () for secret in verifier.keyring.secrets()]
        sent = [target.credential.secret for target in self.targets if target.credential]
        return (*received, *sent)
