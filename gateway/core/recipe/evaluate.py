"""Evaluates the steps and the signature of a recipe for one request. Signing and verifying share this code."""

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.recipe.canonical import PairsStep, canonical_text
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.model import (
    ChainStep,
    ChosenSlot,
    DerivedSlot,
    Encoding,
    HmacStep,
    LinesStep,
    Recipe,
    Step,
    TextStep,
)
from gateway.core.recipe.syntax import REQUEST_NAMES, Template, Value


class Evaluation:
    """The value of each name that templates read, computed on first use.

    `slots` are texts from the wire. `accepted` binds names to other templates, see `Recipe.accept`.
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
        self._shared: Evaluation | None = None
        self._values: dict[str, Value] = {**slots, "secret": secret}

    def with_secret(self, secret: str) -> "Evaluation":
        """Return the evaluation with another secret. It shares all values that do not depend on a secret."""
        evaluation = Evaluation(self.recipe, self.message, self._slots, secret, self._accepted)
        evaluation._shared = self
        return evaluation

    @property
    def steps(self) -> dict[str, Value]:
        return {name: self[name] for name in self.recipe.steps}

    @property
    def string_to_sign(self) -> Value:
        """What is signed; empty without a signature slot."""
        return self.recipe.signature.of.value(self) if self.recipe.signature else ""

    @property
    def signature(self) -> str:
        """The HMAC or hash, encoded; empty without a signature slot and for RSA, which `sign.py` computes."""
        slot = self.recipe.signature
        if slot is None or slot.method == "rsa":
            return ""
        text = to_bytes(self.string_to_sign)
        if slot.method == "hash":
            return encode(hashlib.new(slot.hash, text, usedforsecurity=False).digest(), slot.encoding)
        assert slot.key is not None
        return encode(hmac.digest(to_bytes(slot.key.value(self)), text, slot.hash), slot.encoding)

    def __getitem__(self, name: str, /) -> Value:
        if name not in self._values:
            self._values[name] = self._value(name)
        return self._values[name]

    def _value(self, name: str) -> Value:
        if self._shared is not None and name not in self.recipe.masked:
            return self._shared[name]
        if name in self._accepted:
            return self._accepted[name].value(self)
        if name in REQUEST_NAMES:
            part: Value = getattr(self.message.request, name)
            return part
        if name.startswith("header."):
            return ",".join(self.message.header_values(name.removeprefix("header.")))
        if name in self.recipe.steps:
            return self._step(self.recipe.steps[name])
        slot = self.recipe.slots[name]
        # An absent optional slot, such as a token, is empty.
        return slot.of.value(self) if isinstance(slot, DerivedSlot) else ""

    def _step(self, step: Step) -> Value:
        match step:
            case TextStep():
                return step.of.value(self)
            case LinesStep():
                return "\n".join(to_text(line.value(self)) for line in step.of)
            case HmacStep():
                return hmac.digest(to_bytes(step.key.value(self)), to_bytes(step.of.value(self)), step.hash)
            case ChainStep():
                key = to_bytes(step.key.value(self))
                for link in step.of:
                    key = hmac.digest(key, to_bytes(link.value(self)), step.hash)
                return key
            case PairsStep():
                headers = self._headers(step) if "headers" in step.sources else ()
                return canonical_text(step, self.message, self, headers)

    def _headers(self, step: PairsStep) -> list[str]:
        if step.header_list is None:
            return step.choose.choose(self.message.request, step.pseudo)
        slot = self.recipe.slots[step.header_list]
        assert isinstance(slot, ChosenSlot)
        return signed_headers(slot, to_text(self[slot.name]), self.message.request, step.pseudo)


def encode(digest: bytes, encoding: Encoding) -> str:
    if encoding == "hex":
        return digest.hex()
    if encoding == "HEX":
        return digest.hex().upper()
    if encoding == "base64hex":
        return base64.b64encode(digest.hex().encode()).decode()
    return (base64.b64encode if encoding == "base64" else base64.urlsafe_b64encode)(digest).decode()


def signed_headers(slot: ChosenSlot, text: str, request: Request, pseudo: Collection[str]) -> list[str]:
    """Return the lower-case header names in a list of signed headers from the wire."""
    if not text and slot.empty_is_rule:
        return slot.rule.choose(request, pseudo)
    names = [name.strip().lower() for name in text.split(slot.sep)]
    if not slot.wrap:
        return names
    return [name.removeprefix(slot.wrap).removesuffix(slot.wrap) for name in names]
