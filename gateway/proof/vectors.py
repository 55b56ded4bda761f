"""Test vectors of recipes: a signed request of somebody's making, accepted at its clock and signed again."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import GatewayError
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Carrier, DerivedSlot, Recipe, SignatureSlot, Slot
from gateway.core.recipe.sign import Fresh, Signed, sign
from gateway.core.recipe.verify import Forgetful, Verified, Verifier, verify


@dataclass(frozen=True, slots=True)
class Vector:
    """A signed request; `string_to_sign` is empty where its source prints none, `source` says whose work it is."""

    name: str
    source: str
    message: ReceivedRequest
    credential: Credential
    now_ns: int
    given: Mapping[str, str] = field(default_factory=dict)
    string_to_sign: str = ""


def run_vector(recipe: Recipe, vector: Vector) -> list[str]:
    """Return what is wrong: that it is refused, or that signing gives something else. Empty when it passes."""
    try:
        accept_vector(recipe, vector)
        if recipe.signature is None or "PUBLIC KEY" in vector.credential.secret.reveal():
            return []
        signed = sign_again(recipe, vector)
        claimed = read_slots(recipe, vector.message)[recipe.signature.name]
    except GatewayError as error:
        return [f"{error.outcome.reason}: {error.outcome.message}"]
    made = to_text(signed.evaluation.string_to_sign)
    wrong = [] if vector.string_to_sign in ("", made) else [f"the string to sign is {made!r}"]
    if signed.evaluation.signature != claimed:
        wrong.append(f"signed again, the signature is {signed.evaluation.signature}, not {claimed}")
    return wrong


def accept_vector(recipe: Recipe, vector: Vector) -> Verified:
    """Verify a vector at its own clock. Raises CallerError."""
    check = Verifier(recipe, make_keyring([vector.credential]), vector.given)
    return verify(vector.message, [check], now_ns=vector.now_ns, replays=Forgetful())


def sign_again(recipe: Recipe, vector: Vector) -> Signed:
    """Take the signature off, and sign with what the client chose: its nonce, its list of headers.

    Raises GatewayError.
    """
    slots = read_slots(recipe, vector.message)
    pinned = {name: text for name, text in slots.items() if not _is_computed(recipe.slots[name], text)}
    return sign(
        _unsigned(recipe, vector), recipe, vector.credential, vector.given, Fresh(vector.now_ns, bytes(16), pinned)
    )


def _unsigned(recipe: Recipe, vector: Vector) -> UnsignedRequest:
    message, request = vector.message, vector.message.request
    # What is optional and computed, such as a digest of the body, is the client's to announce.
    carriers = [each for each in recipe.carriers if not (each.optional and _computes(recipe, each))]
    taken = {"host", *(carrier.name.lower() for carrier in carriers if carrier.place == "header")}
    headers = tuple(header for header in request.headers if header[0].lower() not in taken)
    in_body = any(carrier.place in ("json", "form", "param") for carrier in recipe.carriers)
    # Where nothing is put into the body, its bytes stay what was signed, not what another writer makes of them.
    body: Any = request.body
    if in_body and message.body_kind in ("json", "form"):
        body = message.body if message.body_kind == "json" else tuple(message.form)
    return replace(UnsignedRequest.of(request, message.body_kind, body, tuple(message.query)), headers=headers)


def _computes(recipe: Recipe, carrier: Carrier) -> bool:
    return any(isinstance(recipe.slots[name], DerivedSlot) for name in carrier.slots)


def _is_computed(slot: Slot, text: str) -> bool:
    return isinstance(slot, SignatureSlot) or (isinstance(slot, DerivedSlot) and text not in slot.allow)
