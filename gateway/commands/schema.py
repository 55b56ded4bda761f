"""gateway schema: the JSON Schema of specs, for editors and for checks in CI."""

from typing import Annotated, Literal

import typer

from gateway.commands.output.printing import print_json
from gateway.specs.documentation import json_schema


def schema(
    kind: Annotated[
        Literal["route", "provider", "recipe"] | None,
        typer.Argument(help="The kind of document; default: any.", show_default=False),
    ] = None,
) -> None:
    """Print the JSON Schema of specs.

    An editor uses the schema in a file that starts with: # yaml-language-server: $schema=PATH

    \b
    Example:
      gateway schema route
    """
    print_json(json_schema(kind))
