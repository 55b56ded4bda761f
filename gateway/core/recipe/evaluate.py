"""Evaluates the steps and the signature of a recipe for one request. Signing, verifying and tools share this code."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from gateway.core.http.received import ReceivedRequest
from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.filters import FILTERS, to_bytes, to_text
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import ChosenSlot, Encoding
from gateway.core.recipe.syntax import ComputedValues, Template, Value


class Evaluation(ComputedValues):
    """The value of each name that templates read, computed on first use.

    `slots` are texts from the wire. `accepted` binds names to other templates, see `Recipe.accept`.
    """

    __slots__ = ("_secret_names", "message", "recipe")

    def __init__(
        self,
        recipe: Recipe,
        message: ReceivedRequest,
        slots: Mapping[str, str],
        secret: str,
        accepted: Mapping[str, Template] | None = None,
    ) -> None:
        functions = recipe.functions
        if accepted:
            functions = {**functions, **{name: template.value for name, template in accepted.items()}}
        super().__init__(slots, functions)
        self["secret"] = secret
        self.recipe = recipe
        self.message = message
        # A binding may read the secret too, so with one nothing is kept for another secret.
        self._secret_names = (functions.keys() if accepted else recipe.masked) - slots.keys()

    def use_secret(self, secret: str) -> None:
        """Forget the values that depend on the secret, and set another secret."""
        for name in self._secret_names:
            self.pop(name, None)
        self["secret"] = secret

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
        text = to_bytes(slot.of.value(self))
        if slot.method == "hash":
            return encode(hashlib.new(slot.hash, text, usedforsecurity=False).digest(), slot.encoding)
        assert slot.key is not None
        return encode(hmac.digest(to_bytes(slot.key.value(self)), text, slot.hash), slot.encoding)

    def listed_headers(self, step: PairsStep) -> Sequence[str]:
        """Return the names of the headers of a step."""
        if step.header_list is None:
            return step.choose.choose(self.message.request.header_index, step.pseudo)
        slot = self.recipe.slots[step.header_list]
        assert isinstance(slot, ChosenSlot)
        return slot.listed(to_text(self[slot.name]), self.message.request.header_index, step.pseudo)


def encode(digest: bytes, encoding: Encoding) -> str:
    if encoding == "base64hex":
        return encode(digest.hex().encode(), "base64")
    text: str = FILTERS[encoding].apply(digest, "")
    return text
