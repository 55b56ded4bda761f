"""Verifies a received request by a recipe. The rules here hold for every recipe; no author can forget them."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.errors import CallerError
from gateway.core.message import Message
from gateway.core.outcome import Reason
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.evaluate import evaluate
from gateway.core.recipe.keyring import DECOY, Keyring
from gateway.core.recipe.model import GivenSlot, KeySlot, Recipe, SecretSlot, TimeSlot
from gateway.core.recipe.slots import NS, read_time


class ReplayMemory(Protocol):
    """Remembers what may be seen only once."""

    def remember(self, once: tuple[str, ...], until_ns: int) -> bool:
        """Record it until then. Returns False when it was recorded already."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """A recipe that a route accepts, with its credentials, and the values that the route pins (`given`)."""

    recipe: Recipe
    keyring: Keyring
    pins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verified:
    """Who sent a request: the recipe it was told by, the key id if the recipe has one, and what the slots carried."""

    recipe: str
    key: str | None
    slots: Mapping[str, str]


class Refused(CallerError):
    """A request was not verified. `recipe` and `key` are what it claimed, as far as that could be read."""

    def __init__(self, reason: Reason, message: str, recipe: str, key: str | None) -> None:
        super().__init__(CallerError.of(reason, message).outcome)
        self.recipe = recipe
        self.key = key


def verify(message: Message, checks: Sequence[Check], *, now_ns: int, replays: ReplayMemory) -> Verified:
    """Verify a request by the first recipe whose carriers it has. Raises CallerError, see `Reason`."""
    check, slots = _told(message, checks)
    recipe = check.recipe
    key = next((slots.get(name) for name, slot in recipe.slots.items() if isinstance(slot, KeySlot)), None)
    try:
        _check_given(check, slots)
        time_ns = _check_time(recipe, slots, now_ns)
        _check_secret(check, message, slots, key)
        _check_replay(recipe, slots, replays, time_ns or now_ns)
    except CallerError as error:
        assert error.outcome.reason is not None
        raise Refused(error.outcome.reason, error.outcome.message, recipe.name, key) from error
    carried_secrets = {name for name, slot in recipe.slots.items() if isinstance(slot, SecretSlot)}
    return Verified(recipe.name, key, {name: slots[name] for name in slots if name not in carried_secrets})


def _told(message: Message, checks: Sequence[Check]) -> tuple[Check, dict[str, str]]:
    """Return the first check whose carriers parse. Of the refusals, the one that got furthest is raised."""
    worst: CallerError | None = None
    for check in checks:
        try:
            return check, read_slots(check.recipe, message)
        except CallerError as error:
            if worst is None or worst.outcome.reason is Reason.MISSING_CREDENTIALS:
                worst = error
    raise worst or CallerError.of(Reason.MISSING_CREDENTIALS, "no recipe accepts this call")


def _check_given(check: Check, slots: Mapping[str, str]) -> None:
    for name, slot in check.recipe.slots.items():
        pinned = check.pins.get(name)
        if isinstance(slot, GivenSlot) and name in slots and pinned is not None and slots[name] != pinned:
            raise CallerError.of(
                Reason.BAD_CREDENTIALS, f"{name} is {slots[name]!r}, and only {pinned!r} is taken here"
            )


def _check_time(recipe: Recipe, slots: Mapping[str, str], now_ns: int) -> int | None:
    for name, slot in recipe.slots.items():
        if isinstance(slot, TimeSlot) and name in slots:
            time_ns = read_time(slots[name], slot.format)
            away_s = (time_ns - now_ns) / NS
            if abs(away_s) > slot.window_s:
                side = "in the future" if away_s > 0 else "old"
                raise CallerError.of(
                    Reason.STALE,
                    f"the request's time is {abs(away_s):.0f} s {side}; {slot.window_s:g} s are allowed",
                )
            return time_ns
    return None


def _check_secret(check: Check, message: Message, slots: Mapping[str, str], key: str | None) -> None:
    for name, slot in check.recipe.slots.items():
        if isinstance(slot, SecretSlot):
            if not check.keyring.holds(slots[name]):
                raise CallerError.of(Reason.UNKNOWN_KEY, f"the {name} is not known or has ended")
            return
    secrets = check.keyring.secrets_of(key or "")
    signed = _is_signed(check.recipe, message, slots, [secret.reveal() for secret in secrets or (DECOY,)])
    if secrets is None:
        raise CallerError.of(Reason.UNKNOWN_KEY, "the key id is not known")
    if not signed:
        raise CallerError.of(Reason.BAD_SIGNATURE, "the signature does not match")


def _is_signed(recipe: Recipe, message: Message, slots: Mapping[str, str], secrets: Sequence[str]) -> bool:
    slot = recipe.signature
    if slot is None:
        return False
    claimed = slots[slot.name].encode()
    for secret in secrets:
        for accepted in ({}, *recipe.accept):
            made = evaluate(recipe, message, slots, secret, accepted).signature.encode()
            if hmac.compare_digest(made, claimed):
                return True
    return False


def _check_replay(recipe: Recipe, slots: Mapping[str, str], replays: ReplayMemory, time_ns: int) -> None:
    if not recipe.replay:
        return
    window_s = max((slot.window_s for slot in recipe.slots.values() if isinstance(slot, TimeSlot)), default=300)
    once = (recipe.name, *(slots.get(name, "") for name in recipe.replay))
    if not replays.remember(once, time_ns + int(window_s * NS)):
        raise CallerError.of(Reason.REPLAYED, "this request was already received")
