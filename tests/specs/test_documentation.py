"""The JSON Schema of specs accepts what loads, and rejects the mistakes that a schema can find."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gateway.specs.binding.table import Table
from gateway.specs.documentation import all_tables, json_schema, with_key_tables
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.nodes import to_python
from gateway.specs.yaml.reader import parse

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference.md"
SHIPPED = [
    path for folder in ("gateway/providers", "gateway/recipes", "routes.d") for path in (ROOT / folder).iterdir()
]
BAD = sorted((ROOT / "tests/specs/bad_specs").glob("*.yaml"))


@cache
def validator(kind: str | None) -> jsonschema.Draft202012Validator:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def documents(path: Path) -> Iterator[Any]:
    yield from map(to_python, parse(path.read_bytes(), path.name, Diagnostics()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_schema_accepts_shipped_specs(path: Path) -> None:
    for document in documents(path):
        validator(None).validate(document)
        validator(next(iter(document))).validate(document)


# Errors that a type of a key reports. All others depend on more than one key, or on other documents.
OF_A_TYPE = re.compile(
    r"(?<!un)expected |unknown (key|value) |must not be empty| does not match |the (list|map) (needs|has) "
    r"|has more than \d+ characters|'kind' is missing|is not a valid header name|this is not a URL: write"
)
NOT_IN_JSON = {
    "vector_at_no_moment",  # infinity
    "login_url_without_scheme",  # text with names
    "login_url_of_a_given_with_a_blank",
}


def mistakes_of_types() -> list[Path]:
    return [path for path in BAD if OF_A_TYPE.search(path.read_text().partition("# ---- expects\n")[2])]


@pytest.mark.parametrize("path", mistakes_of_types(), ids=lambda path: path.stem)
def test_schema_rejects_what_the_type_of_a_key_rejects(path: Path) -> None:
    accepted = all(validator(None).is_valid(document) for document in documents(path))

    assert accepted == (path.stem in NOT_IN_JSON)


def test_most_kinds_of_mistakes_are_covered() -> None:
    assert len(mistakes_of_types()) > 40


def test_variable_may_stand_for_a_number_in_a_route_only() -> None:
    rules = {"rules": {"value": {"min": "${LEAST}"}}}
    route = {"route": "a", "receive": {"provider": "b", "credentials": "none"}, "send": {"provider": "b", **rules}}

    assert validator("route").is_valid(route)
    assert not validator("provider").is_valid({"provider": "b", **rules})


def test_key_tables_of_the_reference_are_up_to_date() -> None:
    text = REFERENCE.read_text()

    assert with_key_tables(text) == text, "run: make reference"


@pytest.mark.parametrize("title", sorted(all_tables()))
def test_table_of_keys_is_in_the_reference(title: str) -> None:
    titles = re.findall("<!-- keys: (.*) -->", REFERENCE.read_text())

    assert title in ", ".join(titles).split(", ")


@pytest.mark.parametrize("table", all_tables().values(), ids=lambda table: table.title)
def test_key_has_one_line_of_documentation(table: Table) -> None:
    for key in table.keys.values():
        assert key.doc and "\n" not in key.doc and "|" not in key.doc.replace("\\|", "")
