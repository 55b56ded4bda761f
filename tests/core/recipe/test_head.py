"""Verification by the head of a request: which recipes need the body is a property of their dataflow."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.context import RequestContext
from gateway.core.http.received import BodyNeeded, ReceivedRequest
from gateway.core.http.request import Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.pipeline import receive_report_steps, verify_head
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Verified, Verifier, verify
from gateway.core.steps import finish
from gateway.core.vendor.matching import KEY, RequestMatcher
from gateway.core.vendor.route import Route, Source
from gateway.core.vendor.routing import choose_by_key_id, make_snapshot
from tests.core.recipe.samples import NOW_NS, Call, Memory, plain_call, signed
from tests.core.recipe.vectors import RECIPES
from tests.support.specs import recipe, stand_in

HEAD_ONLY = [name for name, each in RECIPES.items() if not each.reads_body]
BODY_READING = [name for name, each in RECIPES.items() if each.reads_body]


def signing(of: str, *, steps: str = "", more: str = "", slot: str = "") -> str:
    return f"""
recipe: acme
slots:
  key: {{kind: key}}
  time: {{kind: time, format: epoch, window_s: 60}}
  nonce: {{kind: nonce, make: uuid4}}
  signature: {{kind: signature, of: "{of}", hmac: sha256, key: "{{secret}}", as: hex}}
  {slot}
carry:
  - {{header: x-key, value: "{{key}}"}}
  - {{header: x-time, value: "{{time}}"}}
  - {{header: x-nonce, value: "{{nonce}}"}}
  - {{header: x-signature, value: "{{signature}}"}}
  {"- {header: x-digest, value: '{digest}', optional: true}" if slot else ""}
steps:
  other: {{text: "{{method}}"}}
{steps}
{more}
"""


DIGEST = 'digest: {kind: derived, text: "{body|sha256|hex}"}'


def by_head(call: Call, *, known: Credential | None = None) -> Verified:
    check = Verifier(call.recipe, make_keyring([known or call.credential]), call.given)
    head = ReceivedRequest(replace(call.request, body=b""), call.body_kind, head_only=True)
    return verify(head, [check], now_ns=call.now_ns, replays=Memory())


def test_shipped_recipes_of_both_kinds_exist():
    assert {"zstack-session", "zstack-access-key", "bearer", "basic", "api-key", "scp"} <= set(HEAD_ONLY)
    assert {"jdcloud3", "aws-sigv4", "zstack-login", "tencent-receiver"} <= set(BODY_READING)


def test_the_security_page_lists_the_recipes_that_read_only_the_head():
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    text = page.partition("if the recipe reads only the head")[2]

    assert set(re.findall("`([a-z0-9-]+)`", text.partition("A rejected request")[0])) == set(HEAD_ONLY)


@pytest.mark.parametrize("name", HEAD_ONLY)
def test_head_verifies_as_the_whole_request_does(name: str):
    call = plain_call(name)

    assert by_head(call) == call.verify()
    assert call.changed(body=b"another").verify() == call.verify()


@pytest.mark.parametrize("name", HEAD_ONLY)
def test_wrong_secret_is_rejected_by_the_head(name: str):
    call = plain_call(name)
    wrong = replace(call.credential, secret=Secret("another-secret"))

    with pytest.raises(CallerError) as caught:
        by_head(call, known=wrong)

    assert caught.value.outcome.reason == call.rejection(wrong)


@pytest.mark.parametrize("name", BODY_READING)
def test_head_of_a_request_whose_body_is_read_does_not_decide(name: str):
    with pytest.raises(BodyNeeded):
        by_head(plain_call(name))


@pytest.mark.parametrize(
    ("text", "reads_body"),
    [
        pytest.param(signing("{method}{time}"), False, id="the head alone"),
        pytest.param(signing("{method}{body}"), True, id="the bytes of the body"),
        pytest.param(signing("{a}", steps='  a: {text: "{b}"}\n  b: {text: "{body|md5}"}'), True, id="by two steps"),
        pytest.param(signing("{a}", steps="  a: {pairs: {from: form}}"), True, id="members of a form"),
        pytest.param(signing("{a}", steps="  a: {pairs: {from: [query, json]}}"), True, id="members of JSON"),
        pytest.param(signing("{a}", steps="  a: {pairs: {from: query}}"), False, id="parameters of the query"),
        pytest.param(signing("{method}{time}", slot=DIGEST), True, id="an optional digest of the body"),
        pytest.param(
            signing("{a}", steps='  a: {text: "{method}"}', more='accept: [{a: "{body}"}]'), True, id="an alternative"
        ),
    ],
)
def test_recipe_knows_whether_it_reads_the_body(text: str, reads_body: bool):
    assert recipe(text).reads_body is reads_body


ROUTE = """
provider: acme
receive:
  request: {method: POST, path: /metrics, body: json}
  verify: [session, keyed]
  each: {item: body}
  point: {namespace: "'n'", metric: item.m, value: item.v}
  local_calls: {hello: {request: {method: GET, path: /hello}, reply: {json: {}}}}
send: {item: metric, request: {method: POST, path: /}}
"""
ONCE = recipe(signing("{method}{time}{nonce}"))
CREDENTIAL = Credential(Secret("a-secret"), "a-key")


def route_of(*recipes: Recipe) -> Route:
    route = stand_in(ROUTE)
    verifiers = tuple(Verifier(each, make_keyring([CREDENTIAL]), {}) for each in recipes)
    return replace(route, source=replace(route.source, verifiers=verifiers))


def signed_once() -> Call:
    draft = UnsignedRequest("POST", "http", "h", "/metrics", (), (), "json", [{"m": "cpu", "v": 1}])
    return signed(draft, ONCE, CREDENTIAL, {})


def test_nonce_of_a_request_verified_by_its_head_is_stored_once():
    class Counting(Memory):
        stored = 0

        def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
            self.stored += 1
            return super().remember(once, until_ns, owner=owner)

    call, replays = signed_once(), Counting()
    match = make_snapshot([route_of(ONCE)]).match(call.request)
    assert match is not None
    head = match.read(replace(call.request, body=b""), head_only=True)

    who = verify_head(match, head, RequestContext(NOW_NS, replays, "127.0.0.1"))
    steps = receive_report_steps(match, match.read(call.request), RequestContext(NOW_NS, replays, caller=who))

    assert finish(steps).caller == who
    assert replays.stored == 1
    with pytest.raises(CallerError) as caught:
        verify_head(match, head, RequestContext(NOW_NS, replays, "127.0.0.1"))
    assert caught.value.outcome.reason is Reason.REPLAYED


def test_missing_header_is_rejected_by_the_head():
    call = plain_call("bearer")
    both = [RECIPES["jdcloud3"], call.recipe]
    verifiers = [Verifier(each, make_keyring([call.credential]), {}) for each in both]
    head = ReceivedRequest(call.request, call.body_kind, head_only=True)

    assert verify(head, verifiers, now_ns=NOW_NS, replays=Memory()).recipe == "bearer"


@pytest.mark.parametrize(
    ("path", "method", "change"),
    [
        pytest.param("/hello", "GET", {}, id="a call that the gateway answers"),
        pytest.param("/metrics", "POST", {"verifiers": None}, id="a route without credentials"),
    ],
)
def test_head_is_not_verified_for(path: str, method: str, change: dict[str, None]):
    route = stand_in(ROUTE)
    source: Source = replace(route.source, **change)
    match = make_snapshot([replace(route, source=source)]).match(
        replace(signed_once().request, method=method, target=path)
    )
    assert match is not None

    head = match.read(signed_once().request, head_only=True)
    assert verify_head(match, head, RequestContext(NOW_NS, Memory(), "127.0.0.1")) is None


def test_key_in_the_body_does_not_choose_the_route_by_the_head():
    match = make_snapshot([route_of(RECIPES["tencent-receiver"])]).match(signed_once().request)
    assert match is not None
    two = replace(match, others=(match,))

    keyed = replace(match.route.source, match=RequestMatcher({KEY: ("a-key",)}))
    two = replace(two, route=replace(match.route, source=keyed))
    with pytest.raises(BodyNeeded):
        choose_by_key_id(two, match.read(signed_once().request, head_only=True))
