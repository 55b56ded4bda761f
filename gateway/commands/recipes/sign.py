"""gateway sign: sign one request by a recipe."""

import os
import sys
from typing import Annotated

import typer

from gateway.commands.arguments import options
from gateway.commands.arguments.loading import load_recipe
from gateway.commands.arguments.options import At, Given, Json, Key, RequestFile, SecretOption, SpecFolder
from gateway.commands.output.errors import fail, misuse
from gateway.commands.output.printing import print_json, string_to_sign
from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.http.text import format_request
from gateway.core.outcome.errors import GatewayError
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import SigningContext, sign, to_draft


def sign_(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe's name.")],
    request: RequestFile,
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    at: At = None,
    nonce: Annotated[str | None, options.option("NONCE", "The nonce; default: a random one.")] = None,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Print a request with its signature, ready to be sent.

    The signature is placed where the recipe carries it. If that is a JSON body, the body is written again.

    \b
    Example:
      gateway sign acme-hmac --request report.http --key ID --secret env:KEY --given region=north
    """
    chosen, credential, stated = load_recipe(routes, recipe, key, secret, given)
    for slot in chosen.given:
        if slot.name not in stated and slot.default is None and not slot.optional:
            misuse(f"{recipe} needs --given {slot.name}=…")
    fresh = SigningContext(options.read_clock(at), os.urandom(16), _pinned(chosen, nonce))
    unsigned = options.read_request(request)
    try:
        draft = to_draft(ReceivedRequest(unsigned, guess_body_kind(unsigned)), chosen)
        signed = sign(draft, chosen, credential, stated, fresh)
    except GatewayError as error:
        fail(error.outcome.message)
    raw = format_request(signed.request)
    if json:
        signature = signed.signature or None
        signed_text = string_to_sign(signed.evaluation) or None
        text = raw.decode("utf-8", "surrogateescape")
        print_json({"request": text, "string_to_sign": signed_text, "signature": signature})
    else:
        sys.stdout.buffer.write(raw)
        sys.stdout.flush()


def _pinned(recipe: Recipe, nonce: str | None) -> dict[str, str]:
    """Return the value of the nonce slot, if --nonce gives one."""
    slot = next(iter(recipe.nonces), None)
    if nonce is None:
        return {}
    if slot is None:
        misuse(f"--nonce: {recipe.name} has none")
    if slot.low is None or slot.high is None:
        return {slot.name: nonce}
    if not (nonce.isascii() and nonce.isdigit() and slot.low <= int(nonce) <= slot.high):
        misuse(f"--nonce: {nonce!r} is not a whole number from {slot.low} to {slot.high}")
    return {slot.name: nonce}
