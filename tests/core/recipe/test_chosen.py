import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Headers, Request, Secret
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.canonical import HeaderRule
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import NoReplayCheck, Verifier, verify
from tests.support.specs import recipe

RULE = "choose: {names: [host, date], prefix: [x-acme-]}, "


def choosing(options: str = "must: [host, date]", rule: str = RULE) -> Recipe:
    return recipe(f"""
recipe: acme
slots:
  key: {{kind: key}}
  signed: {{kind: chosen, {rule}{options}}}
  signature: {{kind: signature, of: "{{headers}}", hmac: sha256, key: "{{secret}}", as: hex}}
carry:
  - {{header: x-key, value: "{{key}}"}}
  - {{header: x-signed, value: "{{signed}}"}}
  - {{header: x-signature, value: "{{signature}}"}}
steps:
  headers:
    pairs: {{from: headers, list: signed, pseudo: {{(target): "{{target}}"}}, item: "{{k}}:{{v}}", join: "\\n"}}
""")


HEADERS: Headers = (("Host", "h"), ("Date", "today"), ("X-Acme-A", "1"), ("X-Twice", "1"), ("X-Twice", "2"))


def signed_text(recipe_: Recipe, listed: str, headers: Headers = HEADERS) -> str:
    """Return the signed text of a request that lists these headers as signed. Raises CallerError."""
    unsigned = Request("GET", "/p", (*headers, ("X-Key", "K"), ("X-Signed", listed)))
    made = Evaluation(recipe_, ReceivedRequest(unsigned, "none"), {"key": "K", "signed": listed}, "s")
    request = Request("GET", "/p", (*unsigned.headers, ("X-Signature", made.signature)))
    check = Verifier(recipe_, make_keyring([Credential(Secret("s"), "K")]), {})
    verify(ReceivedRequest(request, "none"), [check], now_ns=0, replays=NoReplayCheck())
    return str(made.string_to_sign)


@pytest.mark.parametrize(
    ("options", "listed", "text"),
    [
        pytest.param("must: [host, date]", "date;host", "date:today\nhost:h", id="all that it must"),
        pytest.param("must: [host]", "Host", "host:h", id="in other case"),
        pytest.param("must: [host]", "host;x-acme-a", "host:h\nx-acme-a:1", id="more than it must"),
        pytest.param("must: [host]", "host;x-twice", "host:h\nx-twice:1,2", id="a free header that repeated"),
        pytest.param("must: [host, (target)]", "(target);host", "(target):/p\nhost:h", id="a pseudo header"),
        pytest.param("must: {any: [[host, date], [x-acme-a]]}", "x-acme-a", "x-acme-a:1", id="one of the alternatives"),
        pytest.param(
            "must: [host], empty: rule", "", "date:today\nhost:h\nx-acme-a:1", id="an empty list, by the rule"
        ),
        pytest.param("must: [host], empty: rule", "host", "host:h", id="a list where it might be empty"),
        pytest.param("""must: [host], sep: " ", chars: "[a-z ]+" """, "host date", "date:today\nhost:h", id="spaces"),
        pytest.param(
            """must: [host], wrap: "'" """, "'host';'date'", "date:today\nhost:h", id="names that are wrapped"
        ),
    ],
)
def test_headers_that_the_client_lists_are_signed(options: str, listed: str, text: str):
    assert signed_text(choosing(options), listed) == text


def test_empty_list_includes_pseudo_headers():
    choosing_target = choosing("must: [host, (target)], empty: rule", "choose: {names: [host, (target)]}, ")

    assert signed_text(choosing_target, "") == "(target):/p\nhost:h"


TWO_HOSTS: Headers = (*HEADERS, ("host", "other"))


@pytest.mark.parametrize(
    ("options", "listed", "headers", "message"),
    [
        pytest.param(
            "must: [host, date]",
            "host",
            HEADERS,
            "the list of signed headers must have: date, host",
            id="one that it must is not listed",
        ),
        pytest.param(
            "must: {any: [[host, date], [x-acme-a]]}",
            "date",
            HEADERS,
            "the list of signed headers must have: date, host or x-acme-a",
            id="no alternative is whole",
        ),
        pytest.param(
            "must: [host]", "host;Host", HEADERS, "the list of signed headers has a duplicate", id="a name twice"
        ),
        pytest.param(
            "must: [host]",
            "host;x-none",
            HEADERS,
            "the header 'x-none' is listed as signed, and is missing",
            id="a header that is not there",
        ),
        pytest.param("must: [host]", "host", TWO_HOSTS, "the header 'host' is repeated", id="a needed header twice"),
        pytest.param(
            "must: [host]",
            "host;(other)",
            HEADERS,
            "the header '(other)' is listed as signed, and is missing",
            id="a pseudo header that the scheme has not",
        ),
        pytest.param(
            "must: [host]", "host;", HEADERS, "the header '' is listed as signed, and is missing", id="an empty name"
        ),
        pytest.param("must: [host]", "", HEADERS, "the header X-Signed cannot be read", id="an empty list"),
        pytest.param(
            "must: [host], empty: rule",
            "",
            HEADERS[1:],
            "the list of signed headers must have: host",
            id="an empty list, whose rule finds too little",
        ),
    ],
)
def test_client_does_not_decide_what_is_signed(options: str, listed: str, headers: Headers, message: str):
    with pytest.raises(CallerError) as caught:
        signed_text(choosing(options), listed, headers)

    assert (caught.value.outcome.reason, caught.value.outcome.message) == (Reason.BAD_CREDENTIALS, message)


PRESENT = ("x-b", "host", "x-a", "odd_name")


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        pytest.param(HeaderRule(), [], id="nothing"),
        pytest.param(HeaderRule(names=("x-b", "host", "date")), ["host", "x-b"], id="names that are there, sorted"),
        pytest.param(
            HeaderRule(names=("x-b", "host", "date"), as_listed=True), ["x-b", "host"], id="in the rule's order"
        ),
        pytest.param(HeaderRule(prefixes=("x-",)), ["x-a", "x-b"], id="a prefix"),
        pytest.param(
            HeaderRule(names=("host", "x-a"), prefixes=("x-",)), ["host", "x-a", "x-b"], id="names and a prefix"
        ),
        pytest.param(HeaderRule(every=True), ["host", "odd_name", "x-a", "x-b"], id="every one, a repeated one once"),
        pytest.param(HeaderRule(every=True, except_names=("host",)), ["odd_name", "x-a", "x-b"], id="except a name"),
        pytest.param(HeaderRule(every=True, except_names=("*_*",)), ["host", "x-a", "x-b"], id="except an underscore"),
        pytest.param(HeaderRule(every=True, except_names=("x-*",)), ["host", "odd_name"], id="except a prefix"),
        pytest.param(HeaderRule(every=True, except_names=("*",)), [], id="except all"),
        pytest.param(
            HeaderRule(names=("x-a",), every=True, except_names=("x-*", "h*", "odd*")), ["x-a"], id="but a name"
        ),
    ],
)
def test_rule_chooses_these_headers(rule: HeaderRule, names: list[str]):
    assert rule.choose(PRESENT) == names


def test_pseudo_header_can_always_be_chosen():
    assert HeaderRule(names=("(target)", "host"), as_listed=True).choose(PRESENT, ["(target)"]) == ["(target)", "host"]
