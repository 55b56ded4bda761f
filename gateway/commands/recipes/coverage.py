"""gateway coverage: the parts of a request that a signature scheme protects, found by altering a sample."""

from typing import Annotated

import typer

from gateway.commands.arguments.loading import load_or_fail, named
from gateway.commands.arguments.options import Json, SpecFolder
from gateway.commands.output.errors import fail
from gateway.commands.output.printing import line, print_json
from gateway.core.http.request import Secret
from gateway.core.outcome.errors import GatewayError
from gateway.core.recipe.model import Recipe
from gateway.proof.coverage import PARTS
from gateway.proof.coverage import coverage as probe_coverage


def coverage(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="The recipe's name; default: all.")] = None,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Show what a signature scheme does not protect.

    Alters each part of a signed sample in turn, and verifies the result.

    \b
    Example:
      gateway coverage acme-hmac
    """
    recipes = load_or_fail(routes, only=()).recipes
    chosen = sorted(recipes) if recipe is None else [recipe]
    found = {name: _found(named("recipe", name, recipes)) for name in chosen}
    if json:
        print_json(found)
        return
    for text in table(found):
        line(text)


def table(found: dict[str, dict[str, bool | None]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| recipe | {' | '.join(PARTS)} |", f"|---|{'---|' * len(PARTS)}"]
    for name, parts in found.items():
        lines.append(f"| `{name}` | {' | '.join(_WORDS[protected] for protected in parts.values())} |")
    return lines


_WORDS = {True: "yes", False: "**no**", None: "-"}


def _found(recipe: Recipe) -> dict[str, bool | None]:
    try:
        return probe_coverage(recipe, _rsa_key() if recipe.needs_rsa else None)
    except GatewayError as error:
        fail(error.outcome.message)


def _rsa_key() -> Secret:
    """Make a key for the sample."""
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    except ImportError:
        fail("RSA needs the extra: pip install 'metric-gateway[rsa]'")
    key = generate_private_key(65537, 2048)
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
