"""gateway schema: the JSON Schema of specs, for editors and for checks in CI."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.commands.output.printing import print_json
from gateway.specs.documentation import json_schema


class Kind(StrEnum):
    ROUTE = "route"
    PROVIDER = "provider"
    RECIPE = "recipe"


def schema(
    kind: Annotated[Kind | None, typer.Argument(help="The kind of document; default: any.", show_default=False)] = None,
) -> None:
    """Print the JSON Schema of specs.

    An editor uses the schema in a file that starts with: # yaml-language-server: $schema=PATH

    \b
    Example:
      gateway schema route
    """
    print_json(json_schema(None if kind is None else kind.value))
