"""Evaluates a recipe's steps and signature for one request. Signing and verifying both come here."""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.message import Message
from gateway.core.model import Request
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.model import Lines, Recipe, SignatureSlot, Step, Text
from gateway.core.recipe.pairs import canonical
from gateway.core.recipe.template import Value


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Each step's value, the string to sign, and the signature; the latter two are empty without a signature slot."""

    steps: Mapping[str, Value]
    string_to_sign: Value = ""
    signature: str = ""


def evaluate(
    recipe: Recipe,
    message: Message,
    slots: Mapping[str, str],
    secret: str,
    accepted: Mapping[str, str] | None = None,
) -> Evaluation:
    """Evaluate a recipe over a request as it is on the wire. `accepted` binds request names anew."""
    values = _names(message.request, recipe)
    values |= accepted or {}
    values |= slots
    values["secret"] = secret
    steps = {}
    for name, step in recipe.steps.items():
        values[name] = steps[name] = _evaluate(step, message, values)
    slot = recipe.signature
    if slot is None:
        return Evaluation(steps)
    string_to_sign = slot.of.value(values)
    return Evaluation(steps, string_to_sign, sign_text(slot, string_to_sign, slot.key.value(values)))


def sign_text(slot: SignatureSlot, text: Value, key: Value) -> str:
    """Return the signature of a text, printed as the slot says."""
    digest = hmac.digest(to_bytes(key), to_bytes(text), slot.hash)
    if slot.encoding in ("hex", "HEX"):
        return digest.hex() if slot.encoding == "hex" else digest.hex().upper()
    encode = base64.b64encode if slot.encoding == "base64" else base64.urlsafe_b64encode
    return encode(digest).decode()


def _names(request: Request, recipe: Recipe) -> dict[str, Value]:
    values: dict[str, Value] = {
        "method": request.method,
        "scheme": request.scheme,
        "host": request.host,
        "target": request.target,
        "path": request.path,
        "query": request.query,
        "url": request.url,
        "body": request.body,
    }
    for name in recipe.header_names:
        values[f"header.{name}"] = request.header(name) or ""
    return values


def _evaluate(step: Step, message: Message, values: Mapping[str, Value]) -> Value:
    if isinstance(step, Text):
        return step.of.value(values)
    if isinstance(step, Lines):
        return "\n".join(to_text(line.value(values)) for line in step.of)
    return canonical(step, message, values)
