from typing import Any

import pytest

from gateway.specs.environment import Substitution
from gateway.specs.yaml.diagnostic import Diagnostics, Mark
from gateway.specs.yaml.nodes import to_python
from gateway.specs.yaml.reader import parse

ENVIRON = {"NAME": "value", "EMPTY": "", "QUOTE": "a: {b}\n- c", "NESTED": "${NAME}", "PORT": "8080"}
FILES = {"/run/secrets/x": "from a file"}


def substituted(text: str) -> tuple[Any, list[tuple[str, str, str | None]]]:
    (node,) = parse(text, "f.yaml", Diagnostics())
    found: list[tuple[str, str, str | None]] = []

    def report(mark: Mark, what: str, hint: str, unset: str | None) -> None:
        found.append((str(mark), what, unset))

    return to_python(Substitution(ENVIRON.get, FILES.get, report).apply(node)), found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: ${NAME}", {"a": "value"}, id="name"),
        pytest.param("a: x-${NAME}-${PORT}", {"a": "x-value-8080"}, id="within a text"),
        pytest.param("a: ['${NAME}', {b: \"${NAME}\"}]", {"a": ["value", {"b": "value"}]}, id="within lists and maps"),
        pytest.param("a: ${NOPE:-default}", {"a": "default"}, id="default"),
        pytest.param("a: ${NOPE:-}", {"a": ""}, id="empty default"),
        pytest.param("a: ${NOPE:-http://h:1/x?y=-}", {"a": "http://h:1/x?y=-"}, id="any default"),
        pytest.param("a: ${NAME:-default}", {"a": "value"}, id="default that is not needed"),
        pytest.param("a: ${EMPTY:-default}", {"a": ""}, id="a variable may be empty"),
        pytest.param("a: ${file:/run/secrets/x}", {"a": "from a file"}, id="file"),
        pytest.param("a: $${NAME} $$ $NAME {NAME}", {"a": "${NAME} $$ $NAME {NAME}"}, id="literal"),
        pytest.param("a: ${QUOTE}", {"a": "a: {b}\n- c"}, id="a value never changes the structure"),
        pytest.param("a: ${NESTED}", {"a": "${NAME}"}, id="a value is not replaced again"),
        pytest.param("${NAME}: 1", {"${NAME}": 1}, id="keys stay"),
        pytest.param("a: [1, true, null]", {"a": [1, True, None]}, id="values other than text stay"),
    ],
)
def test_variables_are_replaced(text: str, value: Any):
    assert substituted(text) == (value, [])


@pytest.mark.parametrize(
    ("text", "what", "unset"),
    [
        pytest.param("a: ${NOPE}", "the environment variable NOPE is not set", "NOPE", id="unset"),
        pytest.param("a: ${file:/nope}", "cannot read the file /nope", "file:/nope", id="no such file"),
        pytest.param("a: ${A-B}", "'${…}' is not a variable", None, id="not a name"),
        pytest.param("a: ${}", "'${…}' is not a variable", None, id="nothing"),
        pytest.param("a: ${NAME:default}", "'${…}' is not a variable", None, id="a colon alone"),
    ],
)
def test_invalid_or_unset_variable_is_reported_at_its_place(text: str, what: str, unset: str | None):
    _, found = substituted(text)

    assert found == [("f.yaml:1:4", what, unset)]
