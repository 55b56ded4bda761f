import pytest

from gateway.specs.yaml.diagnostic import Diagnostics, Mark
from gateway.specs.yaml.nodes import Node, find, format_path, key_mark, mark_of, to_python
from gateway.specs.yaml.reader import parse

SPEC = """\
provider: acme
receive:
  requests:
    get: {path: /}
cases:
  - case: first
    request: {json: [{a: 1}, {b: null}]}
"""


def read(text: str) -> Node:
    (node,) = parse(text, "f.yaml", Diagnostics())
    return node


def test_python_form_is_dicts_lists_and_values():
    assert to_python(read(SPEC)) == {
        "provider": "acme",
        "receive": {"requests": {"get": {"path": "/"}}},
        "cases": [{"case": "first", "request": {"json": [{"a": 1}, {"b": None}]}}],
    }


def test_find_follows_keys_and_indexes():
    node = read(SPEC)

    assert to_python(find(node, ["cases", 0, "request", "json", 0])) == {"a": 1}
    assert find(node, []) is node


def test_mark_of_is_the_place_of_the_value():
    assert mark_of(read(SPEC), ["receive", "requests", "get", "path"]) == Mark("f.yaml", 4, 17)
    assert mark_of(read(SPEC), ["cases", 0, "request", "json", 1, "b"]) == Mark("f.yaml", 7, 34)


def test_key_mark_is_the_place_of_the_key_or_the_item():
    assert key_mark(read(SPEC), ["receive", "requests", "get", "path"]) == Mark("f.yaml", 4, 11)
    assert key_mark(read(SPEC), ["cases", 0]) == Mark("f.yaml", 6, 5)


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        pytest.param(["receive", "requests", "put", "x"], 4, 5, id="key"),
        pytest.param(["cases", 7], 6, 3, id="index"),
        pytest.param(["cases", -1], 6, 3, id="negative index"),
        pytest.param(["provider", "x"], 1, 11, id="below a text"),
    ],
)
def test_mark_of_a_missing_path_is_that_of_the_deepest_existing_node(path: list[str | int], line: int, column: int):
    assert mark_of(read(SPEC), path) == Mark("f.yaml", line, column)


def test_key_mark_of_a_missing_path_is_that_of_the_deepest_existing_key():
    assert key_mark(read(SPEC), ["receive", "requests", "put", "x"]) == Mark("f.yaml", 3, 3)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([], ""),
        (["receive", "requests", "get", "input"], "receive.requests.get.input"),
        (["cases", 0, "request"], "cases[0].request"),
        ([0, 1, "a"], "[0][1].a"),
        (["headers", "x-amz-target", "@xmlns"], "headers.x-amz-target.@xmlns"),
        (["given", "a.b", "c d"], "given['a.b']['c d']"),
    ],
)
def test_path_is_written_like_jmespath(path: list[str | int], text: str):
    assert format_path(path) == text
