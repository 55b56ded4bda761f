"""A recipe: its slots and carriers (`slots.py`), and its steps, which are named pure values.

`functions` and `signing_phases` are the plan of a recipe: what depends on the recipe alone is computed once.
"""

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any

from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.filters import to_bytes
from gateway.core.recipe.slots import (
    Carrier,
    ChosenSlot,
    DerivedSlot,
    GivenSlot,
    KeySlot,
    LifetimeSlot,
    NonceSlot,
    SecretSlot,
    SignatureSlot,
    Slot,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.syntax import REQUEST_NAMES, ComputedValues, Template, Value, Values

Function = Callable[[Any], Value]

MAX_CACHED_KEYS = 256


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A chain of HMACs, or a single one. The first has `key`, each further one the digest of the one before."""

    hash: str
    key: Template
    of: tuple[Template, ...]

    @property
    def names(self) -> frozenset[str]:
        return names_in(self.key, *self.of)

    def value(self, values: Values) -> bytes:
        key = to_bytes(self.key.value(values))
        for link in self.of:
            key = hmac.digest(key, to_bytes(link.value(values)), self.hash)
        return key


Step = Template | PairsStep | ChainStep


def names_in(*templates: Template) -> frozenset[str]:
    return frozenset[str]().union(*(template.names for template in templates))


def names_read_by(read: Iterable[str], slots: Mapping[str, Slot], steps: Mapping[str, Step]) -> frozenset[str]:
    """Return these names and those that they are computed from, directly or through steps and derived slots."""
    names: set[str] = set()
    waiting = set(read)
    while waiting:
        name = waiting.pop()
        names.add(name)
        slot = slots.get(name)
        if name in steps:
            waiting |= steps[name].names - names
        elif isinstance(slot, DerivedSlot):
            waiting |= slot.of.names - names
    return frozenset(names)


@dataclass(frozen=True)
class Recipe:
    """One signature scheme. `steps` are in evaluation order.

    `accept` lists other bindings of `host`, `path` or steps that a verifier tries. A combination of values of the
    `replay` slots is accepted once. `masked` are the slots and steps that depend on a secret. `signed` are the parts of
    a request that are covered for every list of signed headers: `query`, `path`, `host`, `method`, `scheme`,
    `header.NAME`, the bytes of a `body`, and the members of a `form` or `json` body. `reads_body` is false if the head
    of a request is enough to verify it.

    The remaining fields are the slots by kind.
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
    key: KeySlot | None = field(init=False)
    secret: SecretSlot | None = field(init=False)
    time: TimeSlot | None = field(init=False)
    signature: SignatureSlot | None = field(init=False)
    given: tuple[GivenSlot, ...] = field(init=False)
    time_parts: tuple[TimePartSlot, ...] = field(init=False)
    lifetimes: tuple[LifetimeSlot, ...] = field(init=False)
    nonces: tuple[NonceSlot, ...] = field(init=False)
    chosen: tuple[ChosenSlot, ...] = field(init=False)
    derived: tuple[DerivedSlot, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            slots = tuple(slot for slot in self.slots.values() if isinstance(slot, kind))
            is_single = name in ("key", "secret", "time", "signature")
            object.__setattr__(self, name, next(iter(slots), None) if is_single else slots)

    @cached_property
    def proof(self) -> str:
        """The name of the slot that proves who sent a request: the secret or the signature."""
        return next(name for name, slot in self.slots.items() if isinstance(slot, SecretSlot | SignatureSlot))

    @cached_property
    def functions(self) -> Mapping[str, Function]:
        """The function of each name that a template may read; it computes the value from an `Evaluation`."""
        readers = [*self.steps.values(), *(slot.of for slot in self.derived)]
        readers += [template for binding in self.accept for template in binding.values()]
        if self.signature is not None:
            readers += [self.signature.of, *([self.signature.key] if self.signature.key else [])]
        headers = {name for reader in readers for name in reader.names if name.startswith("header.")}
        return {
            **{name: attrgetter(f"message.request.{name}") for name in REQUEST_NAMES},
            **{name: _header(name.removeprefix("header.")) for name in headers},
            **dict.fromkeys(self.slots, lambda _: ""),  # an optional slot that is absent, such as a token
            **{slot.name: slot.of.value for slot in self.derived},
            **{name: each.text if isinstance(each, PairsStep) else each.value for name, each in self.steps.items()},
        }

    @cached_property
    def signing_functions(self) -> Mapping[str, Function]:
        """`functions`, with caches for keys that depend on the credential and the date alone.

        They are not for verifying: the time to verify a request would reveal whether its key id is in use.
        """
        fixed = {"secret", *(slot.name for slot in (self.key, *self.given, *self.time_parts) if slot)}
        functions = dict(self.functions)
        for name in self.masked & self.steps.keys():
            read = names_read_by({name}, self.slots, self.steps) - self.steps.keys()
            if read <= fixed:
                functions[name] = _cached(self.functions[name], sorted(read), self.functions)
        return functions

    @cached_property
    def signing_phases(self) -> tuple[tuple[Sequence[Slot], Sequence[Carrier], bool], ...]:
        """The phases of signing, see `sign.py`: the slots that get values; the carriers that are then written; and
        whether the body is complete, because no later phase writes into it.

        A carrier is written in the first phase that has all its slots. The places on the wire are in the order of
        `carriers`, those in the body first. A phase that would break this order writes all carriers again.
        """
        computed = (self.derived, self.chosen, (self.signature,) if self.signature else ())
        bound = [slot for slot in self.slots.values() if not any(slot in slots for slots in computed)]
        phases: list[tuple[list[Slot], list[Carrier]]] = []
        known: set[str] = set()
        waiting: list[Slot] = []
        written: list[Carrier] = []
        for slots in (bound, *computed):
            known |= {slot.name for slot in slots}
            waiting += slots
            ready = [carrier for carrier in self.carriers if carrier.slots <= known and self._is_written(carrier)]
            ready.sort(key=lambda carrier: carrier.place == "header")
            if not phases or written != ready:
                in_order = ready[: len(written)] == written
                phases.append((waiting, ready[len(written) :] if in_order else ready))
                waiting, written = [], ready
        later = [any(carrier.may_be_in_body for carrier in carriers) for _, carriers in phases]
        return tuple((*phase, not any(later[index + 1 :])) for index, phase in enumerate(phases))

    def _is_written(self, carrier: Carrier) -> bool:
        """True unless the carrier is optional and has a computed value, such as a digest that is not required."""
        given = [isinstance(self.slots[name], GivenSlot) for name in carrier.slots]
        return not carrier.optional or (bool(given) and all(given))

    @cached_property
    def _sources(self) -> set[str]:
        return {source for step in self.steps.values() if isinstance(step, PairsStep) for source in step.sources}

    @cached_property
    def pseudo_headers(self) -> frozenset[str]:
        return frozenset(name for step in self.steps.values() if isinstance(step, PairsStep) for name in step.pseudo)

    @cached_property
    def parses_body(self) -> bool:
        """True if the body has to be inflated and parsed before anything about it is verified."""
        return self.writes_body or bool(self._sources & {"json", "form"})

    @cached_property
    def writes_body(self) -> bool:
        """True if a carrier may be in the body."""
        return any(carrier.may_be_in_body for carrier in self.carriers)

    @property
    def needs_rsa(self) -> bool:
        return self.signature is not None and self.signature.method == "rsa"

    def leaves_unsigned(self, parts: Set[str]) -> Set[str]:
        """Return those of the parts that the signature does not cover; the part of a body is its kind."""
        return parts - self.signed - ({"json", "form", "text"} if "body" in self.signed else set())


_KINDS: Mapping[str, type[Slot]] = {
    "key": KeySlot,
    "secret": SecretSlot,
    "time": TimeSlot,
    "signature": SignatureSlot,
    "given": GivenSlot,
    "time_parts": TimePartSlot,
    "lifetimes": LifetimeSlot,
    "nonces": NonceSlot,
    "chosen": ChosenSlot,
    "derived": DerivedSlot,
}


def _header(name: str) -> Function:
    return lambda values: ",".join(values.message.request.header_values(name))


def _cached(function: Function, names: Sequence[str], functions: Mapping[str, Function]) -> Function:
    """Cache the values of a function by those of the names that it reads."""

    @lru_cache(MAX_CACHED_KEYS)
    def value(read: tuple[Value, ...]) -> Value:
        return function(ComputedValues(dict(zip(names, read, strict=True)), functions))

    return lambda values: value(tuple([values[name] for name in names]))
