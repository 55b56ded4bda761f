import hashlib
import json
from dataclasses import replace
from ipaddress import ip_network

import pytest

from gateway.core.context import RequestContext
from gateway.core.http.received import Caps, ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.pipeline import answer_local_call, identify_caller
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.session_tokens import make_accounts
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import make_snapshot
from tests.support.specs import recipe, stand_in

NS = 1_000_000_000
NOW = 1_700_000_000 * NS
LOGIN = recipe("""
recipe: login
slots: {account: {kind: key}, password: {kind: signature, of: "{secret}", hash: sha512, as: hex}}
carry: [{header: x-account, value: "{account}"}, {header: x-password, value: "{password}"}]
""")
# `built` knows the one recipe `session`; who may log in is put into the route below.
PROVIDER = """
provider: acme
receive:
  request: {method: POST, path: /report, body: json}
  verify: [session]
  each: {item: body.items}
  point: {metric: item.m, value: item.v}
  local_calls:
    login:
      request: {method: POST, path: /login}
      verify: [session]
      issues: session
      lifetime_s: 60
      reply: {status: 201, json: {token: token, ends: expires_ns, who: key, id: request_id}}
    logout:
      request: {method: DELETE, path: "/sessions/{token}"}
      ends: session
      reply: {json: {}}
    ping:
      request: {method: GET, path: /ping}
      reply: {text: "pong {request_id}"}
"""
ADMIN = Credential(Secret("97c87ca8"), "admin")


class Memory:
    """A replay memory without expiry."""

    def __init__(self) -> None:
        self.remembered: dict[tuple[str, ...], int] = {}

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        is_new = once not in self.remembered
        self.remembered[once] = until_ns
        return is_new

    def seen(self, once: tuple[str, ...]) -> bool:
        return once in self.remembered


def logging_in(*accounts: Credential) -> Route:
    """Return the route with these accounts."""
    route = stand_in(PROVIDER)
    session = route.source.verifiers[0].recipe
    source = replace(
        route.source,
        verifiers=(Verifier(session, make_keyring([]), {}, make_accounts(accounts, 60)),),
        local_verifiers={"login": (Verifier(LOGIN, make_keyring([ADMIN]), {}),), "logout": None, "ping": None},
    )
    return replace(route, source=source)


ROUTE = logging_in(ADMIN)


def answered(
    method: str,
    path: str,
    *headers: tuple[str, str],
    route: Route = ROUTE,
    memory: Memory | None = None,
    now_ns: int = NOW,
    peer: str | None = None,
) -> tuple[int, str]:
    """Return status and body of the reply. Raises CallerError."""
    request = Request(method, path, headers)
    match = make_snapshot([route]).match(request)
    assert match is not None and match.form is not None and match.form.local_call is not None
    message = ReceivedRequest(request, match.form.body)
    context = RequestContext(now_ns, memory or Memory(), peer, request_id="an-id", entropy=bytes(16))
    response = answer_local_call(match, match.form.local_call, message, context)
    return response.status, response.body.decode()


def proof(account: str = "admin", password: str = "97c87ca8") -> tuple[tuple[str, str], tuple[str, str]]:
    return ("X-Account", account), ("X-Password", hashlib.sha512(password.encode()).hexdigest())


def logged_in(route: Route = ROUTE) -> str:
    token: str = json.loads(answered("POST", "/login", *proof(), route=route)[1])["token"]
    return token


def who_reports(token: str, memory: Memory, *, now_ns: int = NOW) -> str | None:
    """Return the key id of a session. Raises CallerError."""
    message = ReceivedRequest(Request("POST", "/report", (("Authorization", token),)), "none")
    verifiers = ROUTE.source.verifiers
    return identify_caller(ROUTE.source, verifiers, message, RequestContext(now_ns, memory)).key


def rejection(token: str, memory: Memory, *, now_ns: int = NOW) -> Reason | None:
    with pytest.raises(CallerError) as caught:
        who_reports(token, memory, now_ns=now_ns)
    return caught.value.outcome.reason


def test_login_reply_has_the_session_its_expiry_and_its_account():
    status, body = answered("POST", "/login", *proof())

    said = json.loads(body)
    assert status == 201
    assert said == {"token": logged_in(), "ends": NOW + 60 * NS, "who": "admin", "id": "an-id"}


def test_session_is_accepted_until_it_expires():
    assert who_reports(logged_in(), Memory(), now_ns=NOW + 59 * NS) == "admin"
    assert rejection(logged_in(), Memory(), now_ns=NOW + 60 * NS) is Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        pytest.param(proof(password="wrong"), Reason.BAD_SIGNATURE, id="another password"),
        pytest.param(proof(account="nobody"), Reason.UNKNOWN_KEY, id="another account"),
        pytest.param((), Reason.MISSING_CREDENTIALS, id="nothing"),
    ],
)
def test_login_without_valid_credentials_is_rejected(headers: tuple[tuple[str, str], ...], reason: Reason):
    with pytest.raises(CallerError) as caught:
        answered("POST", "/login", *headers)

    assert caught.value.outcome.reason is reason


@pytest.mark.parametrize(
    "accounts", [(), (Credential(Secret("97c87ca8"), "other"),)], ids=["no account", "another account"]
)
def test_session_is_not_issued_without_an_account(accounts: tuple[Credential, ...]):
    with pytest.raises(CallerError) as caught:
        answered("POST", "/login", *proof(), route=logging_in(*accounts))

    assert (caught.value.outcome.reason, caught.value.outcome.message) == (
        Reason.NOT_ALLOWED,
        "this account cannot log in here",
    )


def test_any_caller_may_log_in_to_a_route_without_credentials():
    route = logging_in()
    open_to_all = replace(route.source, verifiers=None, local_verifiers=dict.fromkeys(route.source.local_verifiers))

    status, _ = answered("POST", "/login", route=replace(route, source=open_to_all))

    assert status == 201


def test_revoked_session_is_rejected():
    memory, token = Memory(), logged_in()

    answer = answered("DELETE", f"/sessions/{token}", memory=memory)

    assert answer == (200, "{}")
    assert list(memory.remembered.values()) == [NOW + 60 * NS]
    assert rejection(token, memory) is Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("token", "now_ns"),
    [("0" * 80, NOW), ("x", NOW), (logged_in(), NOW + 60 * NS)],
    ids=["a forged one", "no token", "one that has ended"],
)
def test_logout_of_an_invalid_session_stores_nothing(token: str, now_ns: int):
    memory = Memory()

    assert answered("DELETE", f"/sessions/{token}", memory=memory, now_ns=now_ns) == (200, "{}")
    assert memory.remembered == {}


def test_inflated_body_of_a_local_call_is_limited_to_the_body_limit():
    match = make_snapshot([ROUTE]).match(Request("POST", "/login"))

    assert match is not None
    assert match.read(Request("POST", "/login")).caps == Caps(ROUTE.source.max_body_bytes)


def test_local_call_without_a_session_is_only_answered():
    assert answered("GET", "/ping") == (200, "pong an-id")


def test_networks_of_a_route_apply_to_local_calls():
    route = replace(ROUTE, source=replace(ROUTE.source, networks=(ip_network("10.0.0.0/8"),)))

    assert answered("GET", "/ping", route=route, peer="10.1.2.3") == (200, "pong an-id")
    with pytest.raises(CallerError, match="NOT_ALLOWED"):
        answered("GET", "/ping", route=route, peer="127.0.0.1")


def test_login_password_is_masked():
    assert ADMIN.secret in ROUTE.secrets
