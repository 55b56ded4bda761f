"""Reads credentials from the command line, and selects the recipes that a credential fits."""

import os
from collections.abc import Iterable
from pathlib import Path

from gateway.commands.output.errors import fail, misuse, system_text, warn
from gateway.core.http.request import Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe

ADMIN_TOKEN = "GATEWAY_ADMIN_TOKEN"


def read_credential(key: str | None, secret: str | None) -> Credential:
    """Read --key and --secret."""
    if secret is None:
        misuse("--secret is missing; write env:NAME or file:PATH")
    if key == "":
        misuse("--key is empty")
    return Credential(read_secret(secret, "--secret"), key)


def read_secret(text: str, option: str, *, shown: bool = True) -> Secret:
    """Read `env:NAME`, `file:PATH` or a bare secret. If other users can see the latter (`shown`), warn."""
    kind, colon, rest = text.partition(":")
    if colon and kind in ("env", "file"):
        value = _from_environment(rest, option) if kind == "env" else _from_file(rest, option)
        if not value:
            fail(f"{option}: {rest} is empty")
        return Secret(value)
    if not text:
        misuse(f"{option} is empty")
    if shown:
        warn(f"a bare {option} shows in the list of processes; write env:NAME or file:PATH")
    return Secret(text)


def read_admin_token(text: str) -> Secret:
    """Read --admin-token. The list of processes does not show a bare one from the environment."""
    return read_secret(text, "--admin-token", shown=os.environ.get(ADMIN_TOKEN) != text)


def _from_environment(name: str, option: str) -> str:
    value = os.environ.get(name)
    if value is None:
        fail(f"{option}: the environment variable {name!r} is not set")
    return value


def _from_file(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        fail(f"{option}: {path} cannot be read: {system_text(error)}")


def recipes_for(credential: Credential, recipes: Iterable[Recipe], owner: str) -> list[Recipe]:
    """Return the recipes whose slots the credential fills exactly; `owner` is the spec that lists the recipes."""
    recipes = list(recipes)
    fitting = [recipe for recipe in recipes if credential.serves(recipe)]
    if recipes and not fitting:
        misuse(f"{owner} has {'no key id: leave out --key' if credential.key is not None else 'a key id: give --key'}")
    return fitting
