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

BROKEN = {
    "colon and blank": ("a: b: c", f"1:5: a second ': ' in one line; {QUOTE}"),
    "text after a quoted key": ('a: "x": y', f"1:7: a second ': ' in one line; {QUOTE}"),
    "key below a text": ("a: x\n  b: c", f"2:4: ': ' where no key can stand; check the indentation, or {QUOTE}"),
    "at sign": ("a: @", f"1:4: '@' cannot start an unquoted text; {QUOTE}"),
    "backtick": ("a: `1` == b", f"1:4: '`' cannot start an unquoted text; {QUOTE}"),
    "per cent": ("a: %x", f"1:4: '%' cannot start an unquoted text; {QUOTE}"),
    "at sign inside a map": ("a: {b: c, d: @}", f"1:14: '@' cannot start an unquoted text; {QUOTE}"),
    "star": ("a: *", f"1:4: '*' starts an alias that cannot be read; {QUOTE}"),
    "star and dot": ("a: *.b", f"1:4: '*' starts an alias that cannot be read; {QUOTE}"),
    "ampersands": ("a: !(b) && c", f"1:9: '&' starts an anchor that cannot be read; {QUOTE}"),
    "tag handle": ("a: !b!c d", f"1:4: '!' starts a tag that cannot be read; {QUOTE}"),
    "tag in a map": ("a: {x: !f(y)}", f"1:8: '!' starts a tag that cannot be read; {QUOTE}"),
    "future YAML": ("%YAML 2.0\n---\na", f"1:1: '%' starts a directive that cannot be read; {QUOTE}"),
    "brace": ("a: {b}.c", f"1:7: text after a value that ended with }}; {QUOTE}"),
    "bracket": ("a: [b].c", f"1:7: text after a value that ended with ]; {QUOTE}"),
    "bracket too many": ("a: [1, 2]]", f"1:10: text after a value that ended with ]; {QUOTE}"),
    "quoted start": ("a: 'x' == b", f"1:8: text after a value that ended with '; {QUOTE}"),
    "comment inside": ("a: b #c\n d", f"2:2: text goes on after a ' #', which starts a comment; {QUOTE}"),
    "open brace": ("a: {b", f"1:4: '{{' is never closed; close it with '}}', or {QUOTE}"),
    "open bracket": ("a: [b\n", f"1:4: '[' is never closed; close it with ']', or {QUOTE}"),
    "index inside a map": (
        "a: {b: c[0]}",
        f"1:9: neither ',' nor '}}' after an item of the '{{' on line 1; {QUOTE}",
    ),
    "brace left open": (
        "a: [1, 2\nb: 3\n",
        f"2:2: neither ',' nor ']' after an item of the '[' on line 1; {QUOTE}",
    ),
    "end after a comma": (
        "a: [b,\n",
        "2:1: the file ends where a value must stand; close what is open above",
    ),
    "no value": ("[a, , b]", f"1:5: ',' where a value must stand; {QUOTE}"),
    "list on the key's line": ("a: - b", f"1:4: '-' where a value must stand; {QUOTE}"),
    "open quote": ("a: 'x\nb: 1\n", "1:4: the quote ' is never closed; close it"),
    "open double quote": ('a: "x\n---\nb: 1\n', '1:4: the quote " is never closed; close it'),
    "unknown escape": ('a: "x\\q"', "1:6: '\\q' starts an escape that cannot be read; write a backslash as '\\\\'"),
    "short escape": ('a: "\\x1"', "1:5: '\\x' starts an escape that cannot be read; write a backslash as '\\\\'"),
    "text after a bar": ("a: |x\n b", f"1:4: '|' starts a text of several lines, and something follows it; {QUOTE}"),
    "key without colon": ("a: 1\nb\nc: 2\n", f"2:1: a key without ': '; write 'key: value', or {QUOTE}"),
    "indentation": ("a:\n  b: c\n d: e\n", "3:2: a line that fits no map or list above it; check its indentation"),
    "indentation after a comment": (
        "a: b # c\n d: e",
        "2:2: a line that fits no map or list above it; check its indentation",
    ),
    "key in a list": ("- a\nb: c", "2:1: a line that fits no map or list above it; check its indentation"),
    "list in a map": ("a: b\n- c", "2:1: a line that fits no map or list above it; check its indentation"),
    "tab": ("a:\n\tb: c", "2:1: a tab where only spaces may stand; use spaces"),
    "tab first": ("\ta: b", "1:1: a tab where only spaces may stand; use spaces"),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("text", "complaint"), BROKEN.values(), ids=BROKEN)
def test_broken_text_is_one_sentence_with_its_place(text: str, complaint: str, loader: Loader):
    diagnostics = Diagnostics()
    nodes = parse(text, "f.yaml", diagnostics, loader=loader)

    assert str(list(diagnostics)[-1]) == f"f.yaml:{complaint}"
    assert nodes == []
