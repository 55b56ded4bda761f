from pathlib import Path
from typing import Any

import pytest

from gateway.specs.environment import substitute
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import MapNode, to_python
from gateway.specs.yaml.reader import parse

ENVIRON = {"NAME": "value", "EMPTY": "", "QUOTE": "a: {b}\n- c", "NESTED": "${NAME}", "PORT": "8080"}


def substituted(text: str) -> tuple[Any, Document]:
    (node,) = parse(text, "f.yaml", Diagnostics())
    assert isinstance(node, MapNode)
    document = Document("route", "a", node, Diagnostics())
    return to_python(substitute(document, ENVIRON)), document


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
        pytest.param(f"a: ${{file:{__file__}}}", {"a": Path(__file__).read_text().removesuffix("\n")}, id="file"),
        pytest.param("a: $${NAME} $$ $NAME {NAME}", {"a": "${NAME} $$ $NAME {NAME}"}, id="literal"),
        pytest.param("a: ${QUOTE}", {"a": "a: {b}\n- c"}, id="a value never changes the structure"),
        pytest.param("a: ${NESTED}", {"a": "${NAME}"}, id="a value is not replaced again"),
        pytest.param("${NAME}: 1", {"${NAME}": 1}, id="keys stay"),
        pytest.param("a: [1, true, null]", {"a": [1, True, None]}, id="values other than text stay"),
    ],
)
def test_variables_are_replaced(text: str, value: Any):
    replaced, document = substituted(text)

    assert (replaced, list(document.diagnostics)) == (value, [])


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
    _, document = substituted(text)

    assert [(str(found.mark), found.what) for found in document.diagnostics] == [("f.yaml:1:4", what)]
    assert list(document.unset.values()) == ([] if unset is None else [unset])
