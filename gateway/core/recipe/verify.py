"""Verifies a received request by a recipe. The rules here hold for every recipe; no author can forget them."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Secret
from gateway.core.moments import NS
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import place_in_words, read_slots
from gateway.core.recipe.evaluate import Scope, listed, signature_of
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.keyring import DECOY, Keyring
from gateway.core.recipe.model import (
    ChosenSlot,
    DerivedSlot,
    GivenSlot,
    KeySlot,
    LifetimeSlot,
    Recipe,
    SecretSlot,
    SignatureSlot,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.rsa import DECOY_PEM, rsa_verifies
from gateway.core.recipe.session_tokens import Accounts, account_of_token, revocation_key
from gateway.core.recipe.times import part_of, read_times

REMEMBER_LONGER_S = 60


class ReplayMemory(Protocol):
    """Remembers what may be seen only once."""

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        """Record it until then. Returns False when it was recorded already.

        `owner` is the key id that it counts for. Raises CallerError (OVERLOADED) when the owner has too many.
        """
        ...

    def seen(self, once: tuple[str, ...]) -> bool:
        """Tell whether it is recorded."""
        ...


class Forgetful:
    """A replay memory for a request that comes once: a case, a vector, a person's question."""

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        return True

    def seen(self, once: tuple[str, ...]) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Verifier:
    """A recipe that a route accepts, with its credentials, and the values that the route pins (`given`).

    `accounts` are those that log in here for a session that this recipe carries.
    """

    recipe: Recipe
    keyring: Keyring
    pins: Mapping[str, str]
    accounts: Accounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verified:
    """Who sent a request: the recipe it was told by, the key id if the recipe has one, and what the slots carried.

    `secret` is the one of the key's secrets that proved it.
    """

    recipe: str
    key: str | None
    slots: Mapping[str, str]
    secret: Secret | None = None


class VerificationFailed(CallerError):
    """A request was not verified. `recipe` and `key` are what it claimed, as far as that could be read."""

    def __init__(self, reason: Reason, message: str, recipe: str, key: str | None) -> None:
        super().__init__(CallerError.of(reason, message).outcome)
        self.recipe = recipe
        self.key = key


def verify(message: ReceivedRequest, checks: Sequence[Verifier], *, now_ns: int, replays: ReplayMemory) -> Verified:
    """Verify a request by the first recipe whose carriers it has. Raises CallerError, see `Reason`."""
    check, slots = _told(message, checks)
    recipe = check.recipe
    key = next((slots.get(name) for name, slot in recipe.slots.items() if isinstance(slot, KeySlot)), None)
    try:
        time_ns = check_time(recipe, slots, now_ns)
        _check_chosen(recipe, message, slots)
        key, secret = _check_secret(check, message, slots, key, now_ns, replays)
        _check_given(check, slots)
        _check_replay(recipe, slots, replays, time_ns or now_ns, key or "")
    except CallerError as error:
        assert error.outcome.reason is not None
        raise VerificationFailed(error.outcome.reason, error.outcome.message, recipe.name, key) from error
    shown = [name for name in slots if not isinstance(recipe.slots[name], SecretSlot | SignatureSlot)]
    return Verified(recipe.name, key, {name: slots[name] for name in shown}, secret)


def _told(message: ReceivedRequest, checks: Sequence[Verifier]) -> tuple[Verifier, dict[str, str]]:
    """Return the first check whose carriers parse. Of the refusals, the one that got furthest is raised."""
    furthest: CallerError | None = None
    for check in checks:
        try:
            return check, read_slots(check.recipe, message)
        except CallerError as error:
            if furthest is None or furthest.outcome.reason is Reason.MISSING_CREDENTIALS:
                furthest = error
    raise furthest or CallerError.of(Reason.MISSING_CREDENTIALS, "no recipe accepts this call")


def _check_given(check: Verifier, slots: Mapping[str, str]) -> None:
    for name, slot in check.recipe.slots.items():
        pinned = check.pins.get(name)
        if not isinstance(slot, GivenSlot) or pinned is None or slots.get(name) == pinned:
            continue
        if name not in slots:
            _refuse(Reason.BAD_CREDENTIALS, f"{name} is missing, and this route requires it")
        _refuse(Reason.BAD_CREDENTIALS, f"{name} {slots[name][:80]!r} is not taken here")


def check_time(recipe: Recipe, slots: Mapping[str, str], now_ns: int) -> int | None:
    """Return the request's moment in nanoseconds, None for a recipe without one.

    Raises CallerError: STALE, or BAD_CREDENTIALS where the text means no moment or its renderings disagree.
    """
    slot = next((slot for slot in recipe.slots.values() if isinstance(slot, TimeSlot)), None)
    if slot is None or slot.name not in slots:
        return None
    readings = read_times(slots[slot.name], slot)
    if not readings:
        _refuse(Reason.BAD_CREDENTIALS, f"{slots[slot.name]!r} is not a time that can be read")
    time_ns = min(readings, key=lambda reading: abs(reading - now_ns))
    age_s = (now_ns - time_ns) / NS
    allowed_s = min([slot.window_s, *_lifetimes_s(recipe, slots)])
    if age_s > allowed_s or -age_s > slot.window_s:
        side = "old" if age_s > 0 else "in the future"
        _refuse(Reason.STALE, f"the request's time is {abs(age_s):.0f} s {side}; {allowed_s:g} s are allowed")
    for name, part in recipe.slots.items():
        if isinstance(part, TimePartSlot) and name in slots and slots[name] != part_of(time_ns, part):
            _refuse(Reason.BAD_CREDENTIALS, f"{name} {slots[name]!r} is not of the time {slots[slot.name]!r}")
    return time_ns


def _lifetimes_s(recipe: Recipe, slots: Mapping[str, str]) -> list[int]:
    return [int(slots[name]) for name, slot in recipe.slots.items() if isinstance(slot, LifetimeSlot) and name in slots]


def _check_chosen(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str]) -> None:
    """Hold the client's list of signed headers to what must be signed: it must not decide what is covered."""
    pseudo = {name for step in recipe.steps.values() for name in getattr(step, "pseudo", ())}
    for slot in recipe.slots.values():
        if not isinstance(slot, ChosenSlot):
            continue
        names = listed(slot, slots[slot.name], message.request, pseudo)
        if len(set(names)) < len(names):
            _refuse(Reason.BAD_CREDENTIALS, "the list of signed headers names one twice")
        if not any(must <= set(names) for must in slot.must):
            wanted = " or ".join(", ".join(sorted(must)) for must in slot.must)
            _refuse(Reason.BAD_CREDENTIALS, f"the list of signed headers lacks one of: {wanted}")
        needed = frozenset[str]().union(*slot.must)
        for name in names:
            count = 1 if name in pseudo else len(message.header_values(name))
            if count == 0:
                _refuse(Reason.BAD_CREDENTIALS, f"the header {name[:80]!r} is listed as signed, and is missing")
            if count > 1 and name in needed:
                _refuse(Reason.BAD_CREDENTIALS, f"the header {name[:80]!r} stands more than once")


def _check_secret(
    check: Verifier,
    message: ReceivedRequest,
    slots: Mapping[str, str],
    key: str | None,
    now_ns: int,
    replays: ReplayMemory,
) -> tuple[str | None, Secret | None]:
    """Return the key of whoever proved to know a secret, and that secret where the key has it."""
    if check.recipe.signature is None:
        text = next(slots[name] for name, slot in check.recipe.slots.items() if isinstance(slot, SecretSlot))
        return _check_lone_secret(check, text, key, now_ns, replays)
    signed: Secret | None = None
    decoy = Secret(DECOY_PEM) if check.recipe.signature.method == "rsa" else DECOY
    slot, scopes = check.recipe.signature, scopes_of(check.recipe, message, slots)
    for secret in check.keyring.to_try(key or "", decoy):
        if signed is None and any(_is_signature(scope.under(secret), slot, slots[slot.name]) for scope in scopes):
            signed = Secret(secret)
    if not check.keyring.knows(key or ""):
        _refuse(Reason.UNKNOWN_KEY, "the key id is not known")
    if signed is None:
        _refuse(Reason.BAD_SIGNATURE, "the signature does not match")
    _check_derived(check.recipe, message, slots)
    return key, signed


def _check_lone_secret(
    check: Verifier, text: str, key: str | None, now_ns: int, replays: ReplayMemory
) -> tuple[str | None, Secret | None]:
    """Compare a secret that travels as it is: alone, issued here, or beside the key that it belongs to."""
    if not check.recipe.needs_key:
        if check.keyring.holds(text):
            return None, None
        account = account_of_token(text, check.accounts, now_ns=now_ns)
        if account is None or replays.seen(revocation_key(text)):
            _refuse(Reason.UNKNOWN_KEY, "what was presented is not known or has ended")
        return account.key, account.secret
    same = False
    for secret in check.keyring.to_try(key or ""):
        same = hmac.compare_digest(secret.encode(), text.encode("utf-8", "surrogateescape")) or same
    if not check.keyring.knows(key or ""):
        _refuse(Reason.UNKNOWN_KEY, "the key id is not known")
    if not same:
        _refuse(Reason.BAD_SIGNATURE, "the secret does not match")
    return key, Secret(text)


def matches_signature(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str], secret: str) -> bool:
    """Tell whether the signature is the secret's, under the request's own names or one of `accept`."""
    slot = recipe.signature
    if slot is None:
        return False
    return any(
        _is_signature(scope.under(secret), slot, slots[slot.name]) for scope in scopes_of(recipe, message, slots)
    )


def scopes_of(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str]) -> list[Scope]:
    """Return what is the same for every secret: under the request's own names, and under each of `accept`."""
    carried = _carried(recipe, slots)
    return [Scope(recipe, message, carried, "", accepted) for accepted in ({}, *recipe.accept)]


def _carried(recipe: Recipe, slots: Mapping[str, str]) -> dict[str, str]:
    """Return the slots without those derived: what is signed is what the request really has."""
    return {name: text for name, text in slots.items() if not _is_recomputed(recipe, name, text)}


def _is_recomputed(recipe: Recipe, name: str, text: str) -> bool:
    slot = recipe.slots[name]
    return isinstance(slot, DerivedSlot) and text not in slot.allow


def _is_signature(scope: Scope, slot: SignatureSlot, claimed: str) -> bool:
    try:
        if slot.method != "rsa":
            return hmac.compare_digest(signature_of(scope).encode(), claimed.encode("utf-8", "surrogateescape"))
        signature = base64.b64decode(claimed, validate=True)
        # Of the 16 ways to write the last character, one counts: else a replay could be spelled anew.
        if base64.b64encode(signature).decode() != claimed:
            return False
        return rsa_verifies(to_text(scope["secret"]), to_bytes(slot.of.value(scope)), signature, slot.hash)
    except (ValueError, TypeError):
        # What the wire carries cannot be decoded as the recipe says, or the secret is no key.
        return False


def _check_derived(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str]) -> None:
    wrong = wrong_claim(recipe, message, slots)
    if wrong is not None:
        _refuse(Reason.BAD_SIGNATURE, wrong)


def wrong_claim(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str]) -> str | None:
    """Recompute what the request announces of itself, such as a digest of its body; say what differs."""
    scope = Scope(recipe, message, _carried(recipe, slots), "")
    for name, slot in recipe.slots.items():
        if not isinstance(slot, DerivedSlot) or name not in slots or slots[name] in slot.allow:
            continue
        try:
            same = hmac.compare_digest(to_bytes(slot.of.value(scope)), to_bytes(slots[name]))
        except ValueError:
            same = False
        if not same:
            place = next(place_in_words(carrier) for carrier in recipe.carriers if name in carrier.slots)
            of_body = "the body's size" if "|size" in slot.of.source else "the body's digest"
            return f"{place} does not match {of_body if 'body' in slot.of.names else 'the request'}"
    return None


def _check_replay(recipe: Recipe, slots: Mapping[str, str], replays: ReplayMemory, time_ns: int, owner: str) -> None:
    if not recipe.replay:
        return
    window_s = max((slot.window_s for slot in recipe.slots.values() if isinstance(slot, TimeSlot)), default=300)
    once = (recipe.name, *(slots.get(name, "") for name in recipe.replay))
    # Longer than the request is in time: it was judged by a clock that was read before its body was.
    if not replays.remember(once, time_ns + int((window_s + REMEMBER_LONGER_S) * NS), owner=owner):
        _refuse(Reason.REPLAYED, "this request was already received")


def _refuse(reason: Reason, message: str) -> NoReturn:
    raise CallerError.of(reason, message)
