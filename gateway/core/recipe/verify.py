"""Verifies a received request with a recipe. The rules here apply to every recipe.

The order of the checks: all carriers are present and can be read; the time is within the window; the list of signed
headers has what it must have; the signature or secret matches a credential; derived values match the request; given
values match the configuration; the request is not a replay. Unknown keys and wrong signatures cost the same, and a
rejected request is not remembered.
"""

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
from gateway.core.recipe.carriers import described, read_slots
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.keyring import DECOY, RSA_DECOY, Keyring, rsa_verify
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.session_tokens import Accounts, account_of_token, revocation_key
from gateway.core.recipe.times import read_times, write_time
from gateway.core.record import record

REMEMBER_LONGER_S = 60


class ReplayMemory(Protocol):
    """Remembers requests and tokens that are accepted once."""

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        """Remember it until then. Returns False if it is remembered already.

        `owner` is the key id it counts for. Raises CallerError (OVERLOADED) if the owner has too many entries.
        """
        ...

    def seen(self, once: tuple[str, ...]) -> bool: ...


class NoReplayCheck:
    """A replay memory that accepts everything, for cases, vectors and tools."""

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        return True

    def seen(self, once: tuple[str, ...]) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Verifier:
    """A recipe that a route accepts, with its credentials and the values that the route requires (`given`).

    `accounts` may log in here for a session that this recipe carries.
    """

    recipe: Recipe
    keyring: Keyring
    pins: Mapping[str, str]
    accounts: Accounts = field(default_factory=dict)


@record
class Verified:
    """The sender of a request: its recipe, its key id if the recipe has one, and its slots.

    `secret` is the secret that matched, if there is a key.
    """

    recipe: str
    key: str | None
    slots: Mapping[str, str]
    secret: Secret | None = None


class VerificationFailed(CallerError):
    """A request was not verified. `recipe` and `key` are what it claimed, if that could be read."""

    def __init__(self, reason: Reason, message: str, recipe: str, key: str | None) -> None:
        super().__init__(CallerError.of(reason, message).outcome)
        self.recipe = recipe
        self.key = key


def verify(message: ReceivedRequest, verifiers: Sequence[Verifier], *, now_ns: int, replays: ReplayMemory) -> Verified:
    """Verify a request with the first recipe whose carriers it has. Raises CallerError."""
    verifier, slots = _select(message, verifiers)
    recipe = verifier.recipe
    key = slots.get(recipe.key.name) if recipe.key else None
    try:
        time_ns = _check_time(recipe, slots, now_ns) if recipe.time else None
        if recipe.chosen:
            _check_chosen(recipe, message, slots)
        key, secret = _check_secret(verifier, message, slots, key, now_ns, replays)
        if verifier.pins:
            _check_given(verifier, slots)
        if recipe.replay:
            _check_replay(recipe, slots, replays, time_ns or now_ns, key or "")
    except CallerError as error:
        assert error.outcome.reason is not None
        raise VerificationFailed(error.outcome.reason, error.outcome.message, recipe.name, key) from error
    slots.pop(recipe.proof, None)
    return Verified(recipe.name, key, slots, secret)


def _select(message: ReceivedRequest, verifiers: Sequence[Verifier]) -> tuple[Verifier, dict[str, str]]:
    """Return the first verifier whose carriers can be read. Raises the first error that is not MISSING_CREDENTIALS."""
    failure: CallerError | None = None
    for verifier in verifiers:
        try:
            return verifier, read_slots(verifier.recipe, message)
        except CallerError as error:
            if failure is None or failure.outcome.reason is Reason.MISSING_CREDENTIALS:
                failure = error
    raise failure or CallerError.of(Reason.MISSING_CREDENTIALS, "no recipe accepts this call")


def _check_time(recipe: Recipe, slots: Mapping[str, str], now_ns: int) -> int | None:
    """Return the request's time in nanoseconds, or None if it has none.

    Raises CallerError: STALE, or BAD_CREDENTIALS if the text is not a time or its renderings disagree.
    """
    slot = recipe.time
    if slot is None or slot.name not in slots:
        return None
    readings = read_times(slots[slot.name], slot)
    if not readings:
        _reject(Reason.BAD_CREDENTIALS, f"{slots[slot.name]!r} is not a valid time")
    time_ns = min(readings, key=lambda reading: abs(reading - now_ns))
    age_s = (now_ns - time_ns) / NS
    allowed_s = min([slot.window_s, *(int(slots[each.name]) for each in recipe.lifetimes if each.name in slots)])
    if age_s > allowed_s or -age_s > slot.window_s:
        side = "old" if age_s > 0 else "in the future"
        _reject(Reason.STALE, f"the request's time is {abs(age_s):.0f} s {side}; {allowed_s:g} s are allowed")
    for part in recipe.time_parts:
        if slots.get(part.name) not in (None, write_time(time_ns, part.format, part.offset_s)):
            what = f"{part.name} {slots[part.name]!r} differs from the time {slots[slot.name]!r}"
            _reject(Reason.BAD_CREDENTIALS, what)
    return time_ns


def _check_chosen(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str]) -> None:
    """Check the client's list of signed headers: the client must not decide what is signed."""
    present, pseudo = message.request.header_index, recipe.pseudo_headers
    for slot in recipe.chosen:
        names = slot.listed(slots[slot.name], present, pseudo)
        if len(set(names)) < len(names):
            _reject(Reason.BAD_CREDENTIALS, "the list of signed headers has a duplicate")
        needed = slot.needed(names)
        if needed is not None:
            _reject(Reason.BAD_CREDENTIALS, f"the list of signed headers must have: {needed}")
        for name in names:
            if name in pseudo:
                continue
            if name not in present:
                _reject(Reason.BAD_CREDENTIALS, f"the header {name[:80]!r} is listed as signed, and is missing")
            if len(present[name]) > 1 and any(name in must for must in slot.must):
                _reject(Reason.BAD_CREDENTIALS, f"the header {name[:80]!r} is repeated")


def _check_secret(
    verifier: Verifier,
    message: ReceivedRequest,
    slots: Mapping[str, str],
    key: str | None,
    now_ns: int,
    replays: ReplayMemory,
) -> tuple[str | None, Secret | None]:
    """Return the key id whose secret matches, and the secret if it has a key.

    Without a match, every key costs the same, known or not.
    """
    recipe, keyring = verifier.recipe, verifier.keyring
    text = slots[recipe.secret.name] if recipe.secret else ""
    if recipe.key is None:  # a secret of the configuration, or a session token issued here
        if keyring.has_secret(text):
            return None, None
        account = account_of_token(text, verifier.accounts, now_ns=now_ns)
        if account is None or replays.seen(revocation_key(text)):
            _reject(Reason.UNKNOWN_KEY, "the secret or session is unknown or has expired")
        return account.key, account.secret
    secrets = keyring.secrets_to_try(key or "", RSA_DECOY if recipe.needs_rsa else DECOY)
    if recipe.signature:
        secret = matching_secret(recipe, message, slots, secrets)
    else:
        claimed = to_bytes(text)
        secret = next((each for each in secrets if hmac.compare_digest(each.encode(), claimed)), None)
    if key not in keyring.by_key:
        _reject(Reason.UNKNOWN_KEY, "the key id is unknown")
    if secret is None:
        _reject(Reason.BAD_SIGNATURE, f"the {'signature' if recipe.signature else 'secret'} does not match")
    mismatch = derived_mismatch(recipe, message, slots)
    if mismatch is not None:
        _reject(Reason.BAD_SIGNATURE, mismatch)
    return key, Secret(secret)


def matching_secret(
    recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str], secrets: Sequence[str]
) -> str | None:
    """Return the secret that the signature matches, with the request's own names or one of the bindings in `accept`."""
    if recipe.signature is None:
        return None
    claimed, carried = slots[recipe.signature.name], _without_derived(recipe, slots)
    for accepted in ({}, *recipe.accept):
        evaluation = Evaluation(recipe, message, carried, "", accepted)
        for secret in secrets:
            evaluation.use_secret(secret)
            if _matches(evaluation, claimed):
                return secret
    return None


def _without_derived(recipe: Recipe, slots: Mapping[str, str]) -> Mapping[str, str]:
    """Leave out the claimed derived values: the signature is checked with what the request really has."""
    claimed = [slot.name for slot in recipe.derived if slot.name in slots and slots[slot.name] not in slot.allow]
    return {name: text for name, text in slots.items() if name not in claimed} if claimed else slots


def _matches(evaluation: Evaluation, claimed: str) -> bool:
    slot = evaluation.recipe.signature
    assert slot is not None
    try:
        if slot.method != "rsa":
            return hmac.compare_digest(evaluation.signature.encode(), to_bytes(claimed))
        signature = base64.b64decode(claimed, validate=True)
        # Base64 has 16 ways to write the last character. Only one counts; the others would allow a replay.
        if base64.b64encode(signature).decode() != claimed:
            return False
        return rsa_verify(to_text(evaluation["secret"]), to_bytes(evaluation.string_to_sign), signature, slot.hash)
    except (ValueError, TypeError):
        # The request has something that a filter cannot decode, or the secret is not a key.
        return False


def derived_mismatch(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str]) -> str | None:
    """Recompute the derived values, such as a digest of the body, and describe the first one that differs."""
    claimed = [slot for slot in recipe.derived if slot.name in slots and slots[slot.name] not in slot.allow]
    evaluation = Evaluation(recipe, message, _without_derived(recipe, slots), "") if claimed else {}
    for slot in claimed:
        try:
            same = hmac.compare_digest(to_bytes(slot.of.value(evaluation)), to_bytes(slots[slot.name]))
        except ValueError:
            same = False
        if not same:
            place = next(described(carrier) for carrier in recipe.carriers if slot.name in carrier.slots)
            of_body = "the body's size" if "|size" in slot.of.source else "the body's digest"
            return f"{place} does not match {of_body if 'body' in slot.of.names else 'the request'}"
    return None


def _check_given(verifier: Verifier, slots: Mapping[str, str]) -> None:
    for slot in verifier.recipe.given:
        required = verifier.pins.get(slot.name)
        if required is None or slots.get(slot.name) == required:
            continue
        if slot.name not in slots:
            _reject(Reason.BAD_CREDENTIALS, f"{slot.name} is missing, and this route requires it")
        _reject(Reason.BAD_CREDENTIALS, f"this route does not accept the {slot.name} {slots[slot.name][:80]!r}")


def _check_replay(recipe: Recipe, slots: Mapping[str, str], replays: ReplayMemory, time_ns: int, owner: str) -> None:
    window_s = recipe.time.window_s if recipe.time else 300
    once = (recipe.name, *(slots.get(name, "") for name in recipe.replay))
    # Longer than the window, since the time was checked with a clock that was read before the body was received.
    if not replays.remember(once, time_ns + int((window_s + REMEMBER_LONGER_S) * NS), owner=owner):
        _reject(Reason.REPLAYED, "this request was received before")


def _reject(reason: Reason, message: str) -> NoReturn:
    raise CallerError.of(reason, message)
