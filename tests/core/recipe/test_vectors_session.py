"""The session in an Authorization header, compared with a request of the vendor's SDK."""

from dataclasses import replace

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.verify import Verifier, verify
from tests.core.recipe.vectors import RECIPES
from tests.support.vectors import read_vectors, request_of

VECTORS = read_vectors("zstack.json")
SESSION = VECTORS["credentials"]["session_uuid"]
NOW_NS = VECTORS["now"] * 1_000_000_000
RECIPE = RECIPES["zstack-session"]
BY_ID = {case["id"]: case for case in VECTORS["cases"]}
REQUEST = request_of(BY_ID["post-oauth"])


class NothingSeen:
    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        return True


def rejection(request: Request, session: str = SESSION) -> Reason | None:
    checks = [Verifier(RECIPE, make_keyring([Credential(Secret(session))]), {})]
    try:
        verify(ReceivedRequest(request, "json"), checks, now_ns=NOW_NS, replays=NothingSeen())
    except CallerError as error:
        return error.outcome.reason
    return None


def with_authorization(*values: str) -> Request:
    others = tuple(header for header in REQUEST.headers if header[0] != "Authorization")
    return replace(REQUEST, headers=(*others, *(("Authorization", value) for value in values)))


def test_the_sdks_request_is_accepted() -> None:
    assert rejection(REQUEST) is None


def test_the_sdks_request_with_any_character_of_its_session_changed_is_rejected() -> None:
    others = [SESSION[:at] + "x" + SESSION[at + 1 :] for at in range(len(SESSION))]

    reasons = {rejection(with_authorization(f"OAuth {other}")) for other in others}

    assert reasons == {Reason.UNKNOWN_KEY}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((), Reason.MISSING_CREDENTIALS),
        (("",), Reason.BAD_CREDENTIALS),
        (("OAuth",), Reason.BAD_CREDENTIALS),
        (("OAuth ",), Reason.BAD_CREDENTIALS),
        ((SESSION,), Reason.BAD_CREDENTIALS),
        ((f"Bearer {SESSION}",), Reason.BAD_CREDENTIALS),
        ((f"OAuth {SESSION}", f"OAuth {SESSION}"), Reason.BAD_CREDENTIALS),
        ((f"OAuth {SESSION[:-1]}",), Reason.UNKNOWN_KEY),
        ((f"OAuth {SESSION}0",), Reason.UNKNOWN_KEY),
        ((f"OAuth {SESSION.upper()}",), Reason.UNKNOWN_KEY),
    ],
    ids=["none", "empty", "bare word", "no session", "no word", "other word", "twice", "short", "long", "upper case"],
)
def test_another_authorization_is_rejected(values: tuple[str, ...], reason: Reason) -> None:
    assert rejection(with_authorization(*values)) is reason


@pytest.mark.parametrize("name", [name for name in BY_ID if name != "post-oauth"])
def test_the_sdks_access_key_requests_are_not_sessions(name: str) -> None:
    assert rejection(request_of(BY_ID[name])) is Reason.BAD_CREDENTIALS


def test_signing_adds_the_sdks_session() -> None:
    draft = UnsignedRequest.of(with_authorization(), "text", REQUEST.body, ())

    signed = sign(draft, RECIPE, Credential(Secret(SESSION)), {}, SigningContext(NOW_NS, b"")).request

    def as_set(request: Request) -> set[tuple[str, str]]:
        return {(name.lower(), value) for name, value in request.headers}

    assert (signed.method, signed.target, signed.body) == (REQUEST.method, REQUEST.target, REQUEST.body)
    assert as_set(signed) == as_set(REQUEST)
