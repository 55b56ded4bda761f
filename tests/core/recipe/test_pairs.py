import pytest

from gateway.core.http.received import BodyKind, Caps, ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.outcome.errors import CallerError
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.filters import to_text
from tests.support.specs import recipe

RECIPE = """
recipe: acme
slots:
  key: {{kind: key}}
  signature: {{kind: signature, of: "{{pairs}}", hmac: sha256, key: "{{secret}}", as: hex}}
carry:
  - {{header: x-key, value: "{{key}}"}}
  - {{header: x-signature, value: "{{signature}}"}}
steps:
  pairs: {{pairs: {{{options}}}}}
"""


def canonical(options: str, query: str = "", form: str = "", kind: BodyKind = "form") -> str:
    message = ReceivedRequest(Request("POST", f"/?{query}", (), form.encode()), kind)
    return to_text(Evaluation(recipe(RECIPE.format(options=options)), message, {"key": "K"}, "s").steps["pairs"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param("from: query", "a=2&b=&b=1&c=x y/ä", id="sorted by name, values in the order of the wire"),
        pytest.param("from: query, sort: none", "b=&a=2&c=x y/ä&b=1", id="in the order of the wire"),
        pytest.param("from: query, sort: pair", "a=2&b=&b=1&c=x y/ä", id="sorted by name and value"),
        pytest.param("from: query, sort: item, item: '{v}{k}'", "1b&2a&b&x y/äc", id="sorted by what is printed"),
        pytest.param("from: query, except: [c, a]", "b=&b=1", id="except"),
        pytest.param("from: query, value: percent", "a=2&b=&b=1&c=x%20y%2F%C3%A4", id="values encoded"),
        pytest.param("from: query, value: 'percent:/', key: upper", "A=2&B=&B=1&C=x%20y/%C3%A4", id="both sides"),
        pytest.param("from: query, skip_empty: true", "a=2&b=1&c=x y/ä", id="empty values left out"),
        pytest.param("from: query, item_empty: '{k}'", "a=2&b&b=1&c=x y/ä", id="empty values printed otherwise"),
        pytest.param("from: query, except: [c], join: ', ', item: '{k}:{v|percent}'", "a:2, b:, b:1", id="join"),
        pytest.param("from: query, except: [c, b], prefix: '?', end: ';'", "?a=2;", id="prefix and end"),
        pytest.param("from: query, except: [a, b, c], prefix: '?', end: ';'", ";", id="no prefix of nothing"),
        pytest.param("from: [query, form], except: [c]", "a=2&a=0&b=&b=1&d=9", id="query and form"),
        pytest.param("from: form", "a=0&d=9", id="form"),
        pytest.param("from: slots, slots: {z: '{key|lower}', m: '{method}', n: x}", "m=POST&n=x&z=k", id="slots"),
        pytest.param("from: [slots, query], except: [c, b], slots: {z: '{key}'}", "a=2&z=K", id="slots and query"),
    ],
)
def test_pairs_have_this_canonical_text(options: str, text: str):
    assert canonical(options, "b=&a=2&c=x+y%2F%C3%A4&b=1", "a=0&d=9") == text


def test_names_are_sorted_after_encoding():
    assert canonical("from: query, key: percent", "%C3%A4=1&z=2&%5B=3") == "%5B=3&%C3%A4=1&z=2"


def members(body: bytes, caps: Caps) -> str:
    message = ReceivedRequest(Request("POST", "/", (), body), "json", caps)
    return to_text(Evaluation(recipe(RECIPE.format(options="from: json")), message, {"key": "K"}, "s").steps["pairs"])


def test_json_within_the_limits_is_signed_member_by_member():
    assert members(b'{"a": [1, {"b": 2}]}', Caps(10, 2)) == "a.0=1&a.1.b=2"


@pytest.mark.parametrize(
    ("caps", "words"),
    [
        pytest.param(Caps(10, 1), "more than 1 parameters", id="many"),
        pytest.param(Caps(9, 2), "the names and values to sign are larger than a body may be", id="long"),
    ],
)
def test_large_flattened_json_is_rejected_before_it_is_encoded(caps: Caps, words: str):
    with pytest.raises(CallerError, match=words):
        members(b'{"a": [1, {"b": 2}]}', caps)


def test_body_of_another_kind_has_no_parameters():
    assert canonical("from: query", "a=1", "{}", "json") == "a=1"
