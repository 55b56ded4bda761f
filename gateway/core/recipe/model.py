"""The parts of a recipe: slots, carriers and steps.

The kind of a slot decides how signing fills it and how verifying checks it. A carrier says where slots are on the wire
(`syntax.py` has the syntax of its value). A step is a named pure value, computed by `evaluate.py`.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from gateway.core.recipe.canonical import HeaderRule, PairsStep
from gateway.core.recipe.syntax import Syntax, Template

Place = Literal["header", "query", "form", "json", "param"]
Encoding = Literal["hex", "HEX", "base64", "base64url", "base64hex"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A value on the wire. `chars` is the pattern of its text."""

    name: str
    chars: str


AnySlot = TypeVar("AnySlot", bound=Slot)


@dataclass(frozen=True, slots=True)
class KeySlot(Slot):
    """The key id. Verifying selects the secret by it."""


@dataclass(frozen=True, slots=True)
class SecretSlot(Slot):
    """The secret in plain text. Verifying looks it up in constant time."""


@dataclass(frozen=True, slots=True)
class GivenSlot(Slot):
    """A configured value. Verifying compares it with the configuration, if a value is configured."""

    default: str | None
    optional: bool


@dataclass(frozen=True, slots=True)
class TimeSlot(Slot):
    """The time of signing, in `format` at `offset_s` east of UTC. Verifying requires it within `window_s` of now.

    `read` lists the ways to read a wall clock whose zone cannot be trusted: `named` by `zones`, else an offset in
    seconds. The first reading within the window counts.
    """

    format: str
    offset_s: int
    window_s: float
    read: tuple[Literal["named"] | int, ...]
    zones: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TimePartSlot(Slot):
    """The time of the slot `of` in another format. Verifying requires the two to agree."""

    of: str
    format: str
    offset_s: int


@dataclass(frozen=True, slots=True)
class LifetimeSlot(Slot):
    """The seconds for which a signature is valid, at most the time window."""

    default_s: int


@dataclass(frozen=True, slots=True)
class NonceSlot(Slot):
    """A number used once: an integer from `low` to `high`, or a UUID if both are None."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class ChosenSlot(Slot):
    """The list of signed headers: `rule` makes it; verifying reads it from the wire and checks it against `must`.

    `must` lists alternatives; one of them must be signed completely. With `empty_is_rule`, an empty list means the
    headers that the rule chooses.
    """

    rule: HeaderRule
    sep: str
    wrap: str
    must: tuple[frozenset[str], ...]
    empty_is_rule: bool


@dataclass(frozen=True, slots=True)
class DerivedSlot(Slot):
    """A value computed from the request. Verifying recomputes and compares it.

    `allow` lists literals that are accepted instead, such as UNSIGNED-PAYLOAD.
    """

    of: Template
    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignatureSlot(Slot):
    """The signature of `of`: an HMAC with `key`, a plain hash, or RSA (PKCS #1 v1.5) with the secret as PEM key."""

    of: Template
    method: Literal["hmac", "hash", "rsa"]
    hash: str
    key: Template | None
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Carrier:
    """The place of slots on the wire, and the syntax of the value there."""

    place: Place
    name: str
    syntax: Syntax
    type: Literal["text", "int"]
    optional: bool
    slots: frozenset[str] = field(init=False)
    may_be_in_body: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", self.syntax.slots)
        object.__setattr__(self, "may_be_in_body", self.place in ("form", "json", "param"))


@dataclass(frozen=True, slots=True)
class TextStep:
    """One template."""

    of: Template


@dataclass(frozen=True, slots=True)
class LinesStep:
    """Templates joined by line feeds, without one at the end."""

    of: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class HmacStep:
    """The HMAC of `of` with `key`, a digest."""

    hash: str
    key: Template
    of: Template


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A chain of HMACs. The first one has `key`, each further one the digest of the one before."""

    hash: str
    key: Template
    of: tuple[Template, ...]


Step = TextStep | LinesStep | PairsStep | HmacStep | ChainStep


@dataclass(frozen=True)
class Recipe:
    """One signature scheme. `steps` are in evaluation order.

    `accept` lists other bindings of `host`, `path` or steps that a verifier tries. A combination of values of the
    `replay` slots is accepted once. `masked` are the slots and steps that depend on a secret. `signed` are the parts of
    a request that are covered for every list of signed headers: `query`, `path`, `host`, `method`, `scheme`,
    `header.NAME`, the bytes of a `body`, and the members of a `form` or `json` body. `reads_body` is false if the head
    of a request is enough to verify it.

    The slots by kind are looked up once per recipe.
    """

    name: str
    slots: Mapping[str, Slot]
    carriers: tuple[Carrier, ...]
    steps: Mapping[str, Step]
    accept: tuple[Mapping[str, Template], ...]
    replay: tuple[str, ...]
    masked: frozenset[str]
    signed: frozenset[str]
    reads_body: bool

    def slots_of(self, kind: type[AnySlot]) -> tuple[AnySlot, ...]:
        return tuple(slot for slot in self.slots.values() if isinstance(slot, kind))

    @cached_property
    def key(self) -> KeySlot | None:
        return next(iter(self.slots_of(KeySlot)), None)

    @cached_property
    def secret(self) -> SecretSlot | None:
        return next(iter(self.slots_of(SecretSlot)), None)

    @cached_property
    def time(self) -> TimeSlot | None:
        return next(iter(self.slots_of(TimeSlot)), None)

    @cached_property
    def signature(self) -> SignatureSlot | None:
        return next(iter(self.slots_of(SignatureSlot)), None)

    @cached_property
    def chosen(self) -> tuple[ChosenSlot, ...]:
        return self.slots_of(ChosenSlot)

    @cached_property
    def derived(self) -> tuple[DerivedSlot, ...]:
        return self.slots_of(DerivedSlot)

    @cached_property
    def pseudo_headers(self) -> frozenset[str]:
        return frozenset(name for step in self.steps.values() if isinstance(step, PairsStep) for name in step.pseudo)

    @cached_property
    def parses_body(self) -> bool:
        """True if the body has to be inflated and parsed before anything about it is verified."""
        sources = {source for step in self.steps.values() if isinstance(step, PairsStep) for source in step.sources}
        return self.writes_body or bool(sources & {"json", "form"})

    @cached_property
    def writes_body(self) -> bool:
        """True if a carrier may be in the body."""
        return any(carrier.may_be_in_body for carrier in self.carriers)

    @cached_property
    def signing_phases(self) -> tuple[tuple[tuple[Slot, ...], tuple[Carrier, ...]], ...]:
        """The slots to compute in each phase of signing, and the carriers to write after it; see `sign.py`.

        A carrier is written in the first phase that has all its slots. The places on the wire are in the order of
        `carriers`, those in the body first. A phase that would break this order writes all carriers again.
        """
        computed = (ChosenSlot, DerivedSlot, SignatureSlot)
        known = {name for name, slot in self.slots.items() if not isinstance(slot, computed)}
        phases: list[tuple[tuple[Slot, ...], tuple[Carrier, ...]]] = []
        written: list[Carrier] = []
        for slots in ((), self.derived, self.chosen, self.slots_of(SignatureSlot)):
            known |= {slot.name for slot in slots}
            ready = [carrier for carrier in self.carriers if carrier.slots <= known and self._is_written(carrier)]
            ready.sort(key=lambda carrier: carrier.place == "header")
            in_order = ready[: len(written)] == written
            phases.append((slots, tuple(ready[len(written) :] if in_order else ready)))
            written = ready
        return tuple(phases)

    def _is_written(self, carrier: Carrier) -> bool:
        """True unless the carrier is optional and has a computed value, such as a digest that is not required."""
        given = [isinstance(self.slots[name], GivenSlot) for name in carrier.slots]
        return not carrier.optional or (bool(given) and all(given))

    @property
    def needs_key(self) -> bool:
        return self.key is not None

    @property
    def needs_rsa(self) -> bool:
        return self.signature is not None and self.signature.method == "rsa"

    def leaves_unsigned(self, parts: Set[str]) -> Set[str]:
        """Return those of the parts that the signature does not cover; the part of a body is its kind."""
        return parts - self.signed - ({"json", "form", "text"} if "body" in self.signed else set())
