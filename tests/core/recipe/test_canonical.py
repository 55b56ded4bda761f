from typing import Any

import pytest

from gateway.core.http.json import write_json
from gateway.core.http.received import BodyKind, ReceivedRequest
from gateway.core.http.request import Headers, Request
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.filters import to_text
from tests.support.specs import recipe

RECIPE = """
recipe: acme
slots:
  key: {{kind: key}}
  signed: {{kind: chosen, choose: {{names: [host]}}, must: [host]}}
  signature: {{kind: signature, of: "{{pairs}}", hmac: sha256, key: "{{secret}}", as: hex}}
carry:
  - {{header: x-key, value: "{{key}}"}}
  - {{header: x-signed, value: "{{signed}}"}}
  - {{header: x-signature, value: "{{signature}}"}}
steps:
  pairs: {{pairs: {{{options}}}}}
"""


def canonical(
    options: str,
    target: str = "/p?q=1",
    *,
    headers: Headers = (),
    body: bytes = b"",
    kind: BodyKind = "none",
    signed: str = "host",
) -> str:
    message = ReceivedRequest(Request("POST", target, headers, body), kind)
    made = Evaluation(recipe(RECIPE.format(options=options)), message, {"key": "K", "signed": signed}, "s")
    return to_text(made.steps["pairs"])


HEADERS: Headers = (
    ("X-B", "  2  2 "),
    ("Host", "h"),
    ("x-a", "1"),
    ("X-A", " 1/2"),
    ("X-None", ""),
    ("Date", "today"),
)
PSEUDO = "pseudo: {(target): '{method|lower} {target}'}"


@pytest.mark.parametrize(
    ("options", "signed", "text"),
    [
        pytest.param("list: signed", "x-b;host", "host=h&x-b=  2  2 ", id="those listed, sorted"),
        pytest.param("list: signed, sort: none", "x-b;host", "x-b=  2  2 &host=h", id="in the order of the list"),
        pytest.param("list: signed", "X-B;Host", "host=h&x-b=  2  2 ", id="listed in capitals"),
        pytest.param("list: signed, value: squeeze", "x-b;host", "host=h&x-b=2 2", id="spaces squeezed"),
        pytest.param("list: signed", "x-a", "x-a=1, 1/2", id="repeats joined"),
        pytest.param("list: signed, value: 'trim|percent'", "x-a", "x-a=1,1%2F2", id="repeats encoded one by one"),
        pytest.param("list: signed", "host;x-none", "host=h&x-none=", id="one that is empty"),
        pytest.param("list: signed, skip_empty: true", "host;x-none", "host=h", id="empty ones left out"),
        pytest.param("list: signed, item_empty: '{k}'", "host;x-none", "host=h&x-none", id="empty ones otherwise"),
        pytest.param("list: signed, except: [host]", "date;host", "date=today", id="except one"),
        pytest.param(f"list: signed, {PSEUDO}", "host;(target)", "(target)=post /p?q=1&host=h", id="a pseudo header"),
        pytest.param("choose: {names: [host, x-z]}", "date", "host=h", id="chosen by name"),
        pytest.param("choose: {prefix: [x-]}", "date", "x-a=1, 1/2&x-b=  2  2 &x-none=", id="chosen by prefix"),
        pytest.param("choose: {all: true, except: ['x-*']}", "date", "date=today&host=h", id="all but a prefix"),
        pytest.param(
            "choose: {names: [host, (target), date], order: as_listed}, sort: none, pseudo: {(target): '{path}'}",
            "date",
            "host=h&(target)=/p&date=today",
            id="chosen in the rule's order, a pseudo header among them",
        ),
        pytest.param(
            "list: signed, item: '{k}:{v}', join: '\\n', end: '\\n'".replace("'\\n'", '"\\n"'),
            "date;host",
            "date:today\nhost:h\n",
            id="a line each",
        ),
    ],
)
def test_headers_have_this_canonical_text(options: str, signed: str, text: str):
    assert canonical(f"from: headers, {options}", headers=HEADERS, signed=signed) == text


def in_json(body: Any, options: str = "") -> str:
    return canonical(f"from: json, sort: none{options}", body=write_json(body), kind="json")


@pytest.mark.parametrize(
    ("body", "options", "text"),
    [
        pytest.param({"a": {"b": {"c": 1}}, "d": "x"}, "", "a.b.c=1&d=x", id="members by their path"),
        pytest.param({"a": ["x", "y"]}, "", "a.0=x&a.1=y", id="a list counts from 0"),
        pytest.param({"a": ["x", {"b": 1}]}, ", base: 1", "a.1=x&a.2.b=1", id="a list counts from 1"),
        pytest.param([1, 2], "", ".0=1&.1=2", id="a list at the top"),
        pytest.param({"a": True, "b": False}, "", "a=true&b=false", id="booleans"),
        pytest.param({"a": 1.0, "b": 1.5, "c": -2.0, "d": 0.1}, "", "a=1&b=1.5&c=-2&d=0.1", id="whole floats"),
        pytest.param({"a": 2**63 - 1}, "", "a=9223372036854775807", id="a long integer"),
        pytest.param({"a": None, "b": "", "c": [], "d": {}}, "", "b=", id="null and empty values"),
        pytest.param({"a": None, "b": ""}, ", skip_empty: true", "", id="nothing of an empty text"),
        pytest.param({"a": {"b": 1}, "c": 2}, ", except: [a.b]", "c=2", id="except a path"),
        pytest.param({"ä": "ß/"}, ", key: percent, value: percent", "%C3%A4=%C3%9F%2F", id="encoded"),
    ],
)
def test_json_has_this_canonical_text(body: Any, options: str, text: str):
    assert in_json(body, options) == text


def test_body_that_is_not_json_has_no_json_pairs():
    assert canonical("from: json", body=b"a=1", kind="form") == ""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param("skip_bare: true", "a=1&b=", id="left out"),
        pytest.param("skip_bare: false", "a=1&b=&bare=", id="taken as empty"),
        pytest.param("skip_bare: true, skip_empty: true", "a=1", id="empty ones left out, too"),
    ],
)
def test_parameter_without_an_equals_sign(options: str, text: str):
    assert canonical(f"from: query, {options}", "/?bare&b=&a=1") == text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param("from: [query, form]", "a=2&q=1&z=3", id="query and form, sorted together"),
        pytest.param("from: [form, query], sort: none", "z=3&a=2&q=1", id="each as written"),
        pytest.param("from: [query, headers], choose: {names: [host]}", "host=h&q=1", id="query and headers"),
        pytest.param(
            "from: [slots, form, headers], choose: {names: [host]}, slots: {k: '{key}'}, except: [a]",
            "host=h&k=K&z=3",
            id="slots, form and headers, except one",
        ),
        pytest.param("from: [query, json]", "q=1", id="a source that the body is not"),
        pytest.param("from: [query, form], except: [q, a, z], prefix: '?'", "", id="no prefix where all is excepted"),
        pytest.param("from: [query, form], except: [q, a], prefix: '?', end: '#'", "?z=3#", id="prefix and end"),
    ],
)
def test_several_sources_are_joined_to_one_text(options: str, text: str):
    assert canonical(options, headers=HEADERS, body=b"z=3&a=2", kind="form") == text
