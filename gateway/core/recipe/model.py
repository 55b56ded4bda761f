"""What a recipe is once it is loaded. `slots.py` gives values to slots, `carriers.py` reads and writes them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.core.recipe.pairs import Pairs
from gateway.core.recipe.template import Template

Place = Literal["header", "query", "form", "json", "param"]


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
    """The moment of signing, in `format`; when verifying it must lie within `window_s` of now, on either side."""

    name: str
    chars: str
    format: str
    window_s: float


@dataclass(frozen=True, slots=True)
class NonceSlot:
    """A number used once. `low` and `high` bound an integer; both None make it a UUID."""

    name: str
    chars: str
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class SignatureSlot:
    """HMAC of `of` under `key`, printed in `encoding`."""

    name: str
    chars: str
    of: Template
    hash: str
    key: Template
    encoding: Literal["hex", "HEX", "base64", "base64url"]


Slot = KeySlot | SecretSlot | GivenSlot | TimeSlot | NonceSlot | SignatureSlot


@dataclass(frozen=True, slots=True)
class Carrier:
    """Where slots sit on the wire. `template` prints them; `pattern` parses them, a named group for each slot."""

    place: Place
    name: str
    template: Template
    pattern: re.Pattern[str]
    type: Literal["text", "int"]
    optional: bool


@dataclass(frozen=True, slots=True)
class Text:
    """A step: one template."""

    of: Template


@dataclass(frozen=True, slots=True)
class Lines:
    """A step: templates joined by a line feed, with none at the end."""

    of: tuple[Template, ...]


Step = Text | Lines | Pairs


@dataclass(frozen=True, slots=True)
class Recipe:
    """One signature scheme. `steps` stand in the order in which they can be evaluated.

    `accept` lists other bindings of request names that a verifier may try. `replay` names the slots whose values may
    occur together only once. `masked` are the steps that a secret flows into. `header_names` are the headers that
    templates read.
    """

    name: str
    slots: Mapping[str, Slot]
    carriers: tuple[Carrier, ...]
    steps: Mapping[str, Step]
    accept: tuple[Mapping[str, str], ...]
    replay: tuple[str, ...]
    masked: frozenset[str]
    header_names: frozenset[str]

    @property
    def signature(self) -> SignatureSlot | None:
        return next((slot for slot in self.slots.values() if isinstance(slot, SignatureSlot)), None)

    @property
    def needs_key(self) -> bool:
        return any(isinstance(slot, KeySlot) for slot in self.slots.values())
