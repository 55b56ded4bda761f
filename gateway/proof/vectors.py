"""Test vectors of recipes: a signed request is verified at its time and signed again."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import without_headers
from gateway.core.outcome.errors import GatewayError
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Signed, SigningContext, sign, to_draft
from gateway.core.recipe.verify import NoReplayCheck, Verified, Verifier, verify


@dataclass(frozen=True, slots=True)
class Vector:
    """A signed request from `source`; `string_to_sign` is empty if the source does not have it."""

    name: str
    source: str
    message: ReceivedRequest
    credential: Credential
    now_ns: int
    given: Mapping[str, str] = field(default_factory=dict)
    string_to_sign: str = ""


def run_vector(recipe: Recipe, vector: Vector) -> list[str]:
    """Return the differences: the request is rejected, or signing gives another result. Empty if it passes."""
    try:
        accept_vector(recipe, vector)
        if recipe.signature is None or "PUBLIC KEY" in vector.credential.secret.reveal():
            return []
        signed = sign_again(recipe, vector)
        claimed = read_slots(recipe, vector.message)[recipe.signature.name]
    except GatewayError as error:
        return [f"{error.outcome.reason}: {error.outcome.message}"]
    text = to_text(signed.evaluation.string_to_sign) if signed.evaluation else ""
    wrong = [] if vector.string_to_sign in ("", text) else [f"the string to sign is {text!r}"]
    if signed.signature != claimed:
        wrong.append(f"signed again, the signature is {signed.signature}, not {claimed}")
    return wrong


def accept_vector(recipe: Recipe, vector: Vector) -> Verified:
    """Verify a vector at its time. Raises CallerError."""
    verifier = Verifier(recipe, make_keyring([vector.credential]), vector.given)
    return verify(vector.message, [verifier], now_ns=vector.now_ns, replays=NoReplayCheck())


def sign_again(recipe: Recipe, vector: Vector) -> Signed:
    """Remove the signature, and sign with the client's own nonce and list of headers. Raises GatewayError."""
    slots = read_slots(recipe, vector.message)
    derived = {slot.name: slot for slot in recipe.derived}
    # Computed again: the signature, and derived values that the recipe would not accept as literals.
    computed = {name for name, slot in derived.items() if name in slots and slots[name] not in slot.allow}
    computed |= {recipe.signature.name} if recipe.signature else set()
    pinned = {name: text for name, text in slots.items() if name not in computed}
    # An optional derived header, such as a digest of the body, is the client's own choice and is kept.
    carried = [each for each in recipe.carriers if not (each.optional and each.slots & derived.keys())]
    removed = {"host", *(carrier.name.lower() for carrier in carried if carrier.place == "header")}
    headers = without_headers(vector.message.request.headers, *removed)
    draft = replace(to_draft(vector.message, recipe), headers=headers)
    return sign(draft, recipe, vector.credential, vector.given, SigningContext(vector.now_ns, bytes(16), pinned))
