import pytest
import yaml

from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.errors import QUOTE
from gateway.specs.yaml.reader import Loader, parse

LOADERS = [
    pytest.param(yaml.SafeLoader, id="pure"),
    pytest.param(
        getattr(yaml, "CSafeLoader", None),
        id="libyaml",
        marks=pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml"),
    ),
]

ALLOWED = f"check the indentation, or {QUOTE}"
BROKEN = {
    "colon and blank": ("a: b: c", f"1:5: ': ' is not allowed here; {ALLOWED}"),
    "text after a quoted key": ('a: "x": y', f"1:7: ': ' is not allowed here; {ALLOWED}"),
    "key below a text": ("a: x\n  b: c", f"2:4: ': ' is not allowed here; {ALLOWED}"),
    "at sign": ("a: @", f"1:4: '@' cannot start an unquoted text; {QUOTE}"),
    "backtick": ("a: `1` == b", f"1:4: '`' cannot start an unquoted text; {QUOTE}"),
    "per cent": ("a: %x", f"1:4: '%' cannot start an unquoted text; {QUOTE}"),
    "at sign inside a map": ("a: {b: c, d: @}", f"1:14: '@' cannot start an unquoted text; {QUOTE}"),
    "open quote": ("a: 'x\nb: 1\n", "1:4: the quote ' is never closed; close it"),
    "open double quote": ('a: "x\n---\nb: 1\n', '1:4: the quote " is never closed; close it'),
    "tab": ("a:\n\tb: c", "2:1: a tab is not allowed here; use spaces"),
    "tab first": ("\ta: b", "1:1: a tab is not allowed here; use spaces"),
}
OTHERS = {
    "star": "a: *.b",
    "ampersands": "a: !(b) && c",
    "tag": "a: {x: !f(y)}",
    "future YAML": "%YAML 2.0\n---\na",
    "text after a map": "a: {b}.c",
    "bracket too many": "a: [1, 2]]",
    "open brace": "a: {b",
    "no value": "[a, , b]",
    "unknown escape": 'a: "\\q"',
    "text after a bar": "a: |x\n b",
    "key without colon": "a: 1\nb\nc: 2\n",
    "indentation": "a:\n  b: c\n d: e\n",
}


def findings(text: str, loader: Loader) -> list[str]:
    diagnostics = Diagnostics()
    assert parse(text, "f.yaml", diagnostics, loader=loader) == []
    return [str(found) for found in diagnostics]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_frequent_error_is_explained_at_its_place(text: str, message: str, loader: Loader) -> None:
    assert findings(text, loader) == [f"f.yaml:{message}"]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_any_other_error_has_a_place_and_a_hint(text: str, loader: Loader) -> None:
    message = findings(text, loader)[-1]

    assert message.startswith("f.yaml:")
    assert message.partition(": ")[2].startswith("not YAML: ")
    assert message.endswith(f"; {ALLOWED}")
