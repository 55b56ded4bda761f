"""The slots of a recipe, and its carriers.

The kind of a slot decides how signing fills it and how verifying checks it. A carrier says where slots are on the wire
(`syntax.py` has the syntax of its value).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gateway.core.recipe.canonical import HeaderRule
from gateway.core.recipe.syntax import Syntax, Template

Place = Literal["header", "query", "form", "json", "param"]
Encoding = Literal["hex", "HEX", "base64", "base64url", "base64hex"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A value on the wire. `chars` is the pattern of its text."""

    name: str
    chars: str


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

    def listed(self, text: str, present: Collection[str], pseudo: Collection[str]) -> Sequence[str]:
        """Return the lower-case names in a list from the wire; `present` are the names of the request's headers."""
        if not text and self.empty_is_rule:
            return self.rule.choose(present, pseudo)
        names = [name.strip().lower() for name in text.split(self.sep)]
        if self.wrap:
            names = [name.removeprefix(self.wrap).removesuffix(self.wrap) for name in names]
        return names

    def needed(self, names: Iterable[str]) -> str | None:
        """Return the names that must be signed, for a message, if these names are not enough."""
        if any(must.issubset(names) for must in self.must):
            return None
        return " or ".join(", ".join(sorted(must)) for must in self.must)


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
    """The place of slots on the wire, and the syntax of the value there. `path` is the place in a JSON body."""

    place: Place
    name: str
    syntax: Syntax
    type: Literal["text", "int"]
    optional: bool
    slots: frozenset[str] = field(init=False)
    may_be_in_body: bool = field(init=False)
    lower_name: str = field(init=False)
    path: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", self.syntax.slots)
        object.__setattr__(self, "lower_name", self.name.lower())
        object.__setattr__(self, "path", tuple(self.name.split(".")) if self.place == "json" else (self.name,))
        object.__setattr__(self, "may_be_in_body", self.place in ("form", "json", "param"))
