"""What a recipe is once it is loaded. `times.py` reads and writes moments, `forms.py` what carriers hold."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

from gateway.core.recipe.canonical import Chosen, Pairs
from gateway.core.recipe.forms import Form
from gateway.core.recipe.template import Template

Place = Literal["header", "query", "form", "json", "param"]
Encoding = Literal["hex", "HEX", "base64", "base64url", "base64hex"]


@dataclass(frozen=True, slots=True)
class KeySlot:
    """The credential's id: selects the credential when verifying."""

    name: str
    chars: str


@dataclass(frozen=True, slots=True)
class SecretSlot:
    """The secret itself travels; when verifying it is looked up among the secrets, in constant time."""

    name: str
    chars: str


@dataclass(frozen=True, slots=True)
class GivenSlot:
    """A value from configuration; when verifying it must equal what is configured, if anything is."""

    name: str
    chars: str
    default: str | None
    optional: bool


@dataclass(frozen=True, slots=True)
class TimeSlot:
    """The moment of signing, in `format`, `offset_s` east of UTC; when verifying it must lie within `window_s` of now.

    `read` lists how a wall clock is read whose zone cannot be trusted: `named` by `zones`, else by an offset in
    seconds. The first reading within the window counts.
    """

    name: str
    chars: str
    format: str
    offset_s: int
    window_s: float
    read: tuple[Literal["named"] | int, ...]
    zones: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TimePartSlot:
    """Another rendering of the moment that the slot `of` carries; when verifying it must match that one."""

    name: str
    chars: str
    of: str
    format: str
    offset_s: int


@dataclass(frozen=True, slots=True)
class LifetimeSlot:
    """For how many seconds a signature is good; the window caps it."""

    name: str
    chars: str
    default_s: int


@dataclass(frozen=True, slots=True)
class NonceSlot:
    """A number used once. `low` and `high` bound an integer; both None make it a UUID."""

    name: str
    chars: str
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class ChosenSlot:
    """The list of signed headers: made by the rule, and when verifying read from the wire and held to `must`.

    `must` lists alternatives, one of which has to be signed whole. `empty_is_rule` lets an empty list stand for the
    rule's own.
    """

    name: str
    chars: str
    rule: Chosen
    sep: str
    wrap: str
    must: tuple[frozenset[str], ...]
    empty_is_rule: bool


@dataclass(frozen=True, slots=True)
class DerivedSlot:
    """A value computed from the request; when verifying it is recomputed and compared.

    `allow` lists literals that are taken in its place, such as UNSIGNED-PAYLOAD.
    """

    name: str
    chars: str
    of: Template
    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignatureSlot:
    """The signature of `of`: an HMAC under `key`, a plain hash, or RSA (PKCS #1 v1.5) with the secret as PEM key."""

    name: str
    chars: str
    of: Template
    method: Literal["hmac", "hash", "rsa"]
    hash: str
    key: Template | None
    encoding: Encoding


Slot = (
    KeySlot
    | SecretSlot
    | GivenSlot
    | TimeSlot
    | TimePartSlot
    | LifetimeSlot
    | NonceSlot
    | ChosenSlot
    | DerivedSlot
    | SignatureSlot
)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Where slots sit on the wire, and in what form."""

    place: Place
    name: str
    form: Form
    type: Literal["text", "int"]
    optional: bool

    @property
    def slots(self) -> frozenset[str]:
        return self.form.slots

    @property
    def may_be_in_body(self) -> bool:
        return self.place in ("form", "json", "param")


@dataclass(frozen=True, slots=True)
class Text:
    """A step: one template."""

    of: Template


@dataclass(frozen=True, slots=True)
class Lines:
    """A step: templates joined by a line feed, with none at the end."""

    of: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Hmac:
    """A step: the HMAC of `of` under `key`, a digest."""

    hash: str
    key: Template
    of: Template


@dataclass(frozen=True, slots=True)
class Chain:
    """A step: HMACs one after the other, each under the digest of the one before, the first under `key`."""

    hash: str
    key: Template
    of: tuple[Template, ...]


Step = Text | Lines | Pairs | Hmac | Chain


@dataclass(frozen=True, slots=True)
class Recipe:
    """One signature scheme. `steps` stand in the order in which they can be evaluated.

    `accept` lists other bindings of `host`, `path` or steps that a verifier may try. `replay` names the slots whose
    values may occur together only once. `masked` are the slots and steps that a secret flows into. `signed` are the
    parts of a request that the signature covers whatever the client chooses: `query`, `path`, `host`, `method`,
    `scheme`, `header.NAME`, the bytes of a `body`, and the members of a body that is a `form` or `json`. `reads_body`
    is false where the head of a request suffices to verify it.
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

    @property
    def signature(self) -> SignatureSlot | None:
        return next((slot for slot in self.slots.values() if isinstance(slot, SignatureSlot)), None)

    def leaves_unsigned(self, parts: Set[str]) -> Set[str]:
        """Return those of the parts that the signature does not cover; a body is told by its kind."""
        return parts - self.signed - ({"json", "form", "text"} if "body" in self.signed else set())

    @property
    def parses_body(self) -> bool:
        """Tell whether a body has to be inflated and parsed before anything about it is verified."""
        places = {carrier.place for carrier in self.carriers}
        sources = {source for step in self.steps.values() if isinstance(step, Pairs) for source in step.sources}
        return bool((places | sources) & {"json", "form", "param"})

    @property
    def needs_key(self) -> bool:
        return any(isinstance(slot, KeySlot) for slot in self.slots.values())

    @property
    def needs_rsa(self) -> bool:
        return self.signature is not None and self.signature.method == "rsa"
