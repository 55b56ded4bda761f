"""gateway sign: one request, signed by a recipe."""

import os
import sys
import time
from typing import Annotated

import typer

from gateway.commands.bodies import body_kind_of
from gateway.commands.loading import load_or_fail, recipe_named
from gateway.commands.options import (
    At,
    Given,
    Json,
    Key,
    RequestFile,
    SecretOption,
    SpecFolder,
    fail,
    read_given,
    read_request,
    read_secret,
)
from gateway.commands.printing import print_json
from gateway.core.draft import Draft
from gateway.core.errors import GatewayError
from gateway.core.message import Message
from gateway.core.model import Request
from gateway.core.raw import write_raw
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Fresh, sign


def sign_(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe's name.")],
    request: RequestFile,
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    at: At = None,
    nonce: Annotated[str | None, typer.Option("--nonce", help="The nonce; default: a random one.")] = None,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Print the request with its signature, ready to be sent.

    Example: gateway sign tencent-receiver --request report.http --key ID --secret env:KEY --given region=sh
    """
    specs = load_or_fail(routes)
    chosen = recipe_named(specs, recipe)
    if chosen.needs_key and key is None:
        fail(f"{recipe} needs --key")
    clock = time.time() if at is None else at
    fresh = Fresh(int(clock * 1_000_000_000), os.urandom(16), nonce)
    try:
        draft = _draft(read_request(request), chosen)
        signed = sign(draft, chosen, Credential(read_secret(secret), key), read_given(given), fresh)
    except GatewayError as error:
        fail(error.outcome.message)
    if json:
        evaluation = signed.evaluation
        text = write_raw(signed.request).decode("utf-8", "backslashreplace")
        signature = {"string_to_sign": to_text(evaluation.string_to_sign), "signature": evaluation.signature}
        print_json({"request": text, **signature})
    else:
        sys.stdout.buffer.write(write_raw(signed.request))
        sys.stdout.flush()


def _draft(request: Request, recipe: Recipe) -> Draft:
    """Read the body only where the recipe puts something into it; else its bytes stay as they are."""
    message = Message(request, body_kind_of(request))
    in_body = any(carrier.place in ("json", "form", "param") for carrier in recipe.carriers)
    if in_body and message.body_kind in ("json", "form"):
        body = message.body if message.body_kind == "json" else tuple(message.form)
        return Draft.of(request, message.body_kind, body, tuple(message.query))
    return Draft.of(request, "text" if request.body else "none", request.body, tuple(message.query))
