"""Evaluates a recipe's steps and signature for one request. Signing and verifying both come here."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.recipe.canonical import Pairs, canonical
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.model import Chain, ChosenSlot, DerivedSlot, Encoding, Hmac, Lines, Recipe, Step, Text
from gateway.core.recipe.template import Template, Value

_OF_REQUEST: dict[str, Callable[[Request], Value]] = {
    "method": lambda request: request.method,
    "scheme": lambda request: request.scheme,
    "host": lambda request: request.host,
    "target": lambda request: request.target,
    "path": lambda request: request.path,
    "query": lambda request: request.query,
    "url": lambda request: request.url,
    "body": lambda request: request.body,
}


class Scope:
    """The value of each name that templates read, computed when first asked for.

    `accepted` binds names anew; `slots` are texts as they stand on the wire.
    """

    def __init__(
        self,
        recipe: Recipe,
        message: ReceivedRequest,
        slots: Mapping[str, str],
        secret: str,
        accepted: Mapping[str, Template] | None = None,
    ) -> None:
        self.recipe = recipe
        self.message = message
        self._accepted = accepted or {}
        self._slots = slots
        self._shared: Scope | None = None
        self._values: dict[str, Value] = {**slots, "secret": secret}

    def under(self, secret: str) -> "Scope":
        """Return the scope under another secret, which shares whatever no secret flows into."""
        scope = Scope(self.recipe, self.message, self._slots, secret, self._accepted)
        scope._shared = self
        return scope

    def __getitem__(self, name: str, /) -> Value:
        if name not in self._values:
            self._values[name] = self._value(name)
        return self._values[name]

    def _value(self, name: str) -> Value:
        if self._shared is not None and name not in self.recipe.masked:
            return self._shared[name]
        if name in self._accepted:
            return self._accepted[name].value(self)
        if name in _OF_REQUEST:
            return _OF_REQUEST[name](self.message.request)
        if name.startswith("header."):
            return ",".join(self.message.header_values(name.removeprefix("header.")))
        if name in self.recipe.steps:
            return self._step(self.recipe.steps[name])
        slot = self.recipe.slots[name]
        # What the request does not carry and cannot be computed, such as an optional token, is empty.
        return slot.of.value(self) if isinstance(slot, DerivedSlot) else ""

    def _step(self, step: Step) -> Value:
        if isinstance(step, Text):
            return step.of.value(self)
        if isinstance(step, Lines):
            return "\n".join(to_text(line.value(self)) for line in step.of)
        if isinstance(step, Hmac):
            return hmac.digest(to_bytes(step.key.value(self)), to_bytes(step.of.value(self)), step.hash)
        if isinstance(step, Chain):
            key = to_bytes(step.key.value(self))
            for link in step.of:
                key = hmac.digest(key, to_bytes(link.value(self)), step.hash)
            return key
        return canonical(step, self.message, self, self._headers(step))

    def _headers(self, step: Pairs) -> list[str]:
        if step.header_list is None:
            return step.choose.choose(self.message.request, step.pseudo)
        slot = self.recipe.slots[step.header_list]
        assert isinstance(slot, ChosenSlot)
        return listed(slot, to_text(self[slot.name]), self.message.request, step.pseudo)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Each step's value, the string to sign, and the signature; the latter two are empty without a signature slot."""

    steps: Mapping[str, Value]
    string_to_sign: Value = ""
    signature: str = ""


def evaluate(
    recipe: Recipe,
    message: ReceivedRequest,
    slots: Mapping[str, str],
    secret: str,
    accepted: Mapping[str, Template] | None = None,
) -> Evaluation:
    """Evaluate everything, for people. RSA gives no signature: whoever verifies cannot make one."""
    scope = Scope(recipe, message, slots, secret, accepted)
    return evaluation_of(scope, signature_of(scope))


def evaluation_of(scope: Scope, signature: str) -> Evaluation:
    """Return every step's value, for people."""
    slot = scope.recipe.signature
    steps = {name: scope[name] for name in scope.recipe.steps}
    return Evaluation(steps, slot.of.value(scope) if slot else "", signature)


def signature_of(scope: Scope) -> str:
    """Return the signature, printed as its slot says; empty for a recipe without one, and for RSA, see `sign.py`."""
    slot = scope.recipe.signature
    if slot is None or slot.method == "rsa":
        return ""
    text = to_bytes(slot.of.value(scope))
    if slot.method == "hash":
        return encode(hashlib.new(slot.hash, text, usedforsecurity=False).digest(), slot.encoding)
    assert slot.key is not None
    return encode(hmac.digest(to_bytes(slot.key.value(scope)), text, slot.hash), slot.encoding)


def encode(digest: bytes, encoding: Encoding) -> str:
    if encoding == "hex":
        return digest.hex()
    if encoding == "HEX":
        return digest.hex().upper()
    if encoding == "base64hex":
        return base64.b64encode(digest.hex().encode()).decode()
    return (base64.b64encode if encoding == "base64" else base64.urlsafe_b64encode)(digest).decode()


def listed(slot: ChosenSlot, text: str, request: Request, pseudo: Collection[str]) -> list[str]:
    """Return the header names that a list on the wire names, in lower case."""
    if not text and slot.empty_is_rule:
        return slot.rule.choose(request, pseudo)
    names = [name.strip().lower() for name in text.split(slot.sep)]
    if not slot.wrap:
        return names
    return [name.removeprefix(slot.wrap).removesuffix(slot.wrap) for name in names]
