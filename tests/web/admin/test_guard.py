"""Who may ask the admin API."""

import pytest

from gateway.core.http.request import Headers, Request, Secret
from gateway.web.admin.guard import Denied, Guard, is_local

LOCAL, ABROAD = "127.0.0.1", "0.0.0.0"
TOKEN = Secret("a token")
BEARER = ("Authorization", "Bearer a token")


def refused(guard: Guard, *headers: tuple[str, str]) -> int:
    """Return the status with which a call is refused, or 0."""
    try:
        guard.admit(asking(*headers))
    except Denied as denied:
        return denied.status
    return 0


def asking(*headers: tuple[str, str]) -> Request:
    named: Headers = headers if any(name == "Host" for name, _ in headers) else (*headers, ("Host", "localhost"))
    return Request("POST", "/api/x", named)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost"])
def test_loopback_is_local(host: str):
    assert is_local(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "gateway", "localhost.example", "127.0.0.1.example"])
def test_all_else_is_not(host: str):
    assert not is_local(host)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9091", "127.0.0.1:1", "[::1]", "[::1]:9091", "LOCALHOST", "127.0.0.9:9091"],
)
def test_on_loopback_a_host_of_this_machine_may_ask(host: str):
    assert refused(Guard("127.0.0.9"), ("Host", host)) == 0


@pytest.mark.parametrize(
    "hosts",
    [["evil.example"], ["evil.example:9091"], ["localhost.evil.example"], [""], ["localhost", "evil.example"]],
    ids=" and ".join,
)
@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
def test_on_loopback_a_name_of_others_may_not(hosts: list[str], token: Secret | None):
    assert refused(Guard(LOCAL, token), BEARER, *(("Host", host) for host in hosts)) == 403


def test_off_loopback_nobody_may_ask_without_a_token():
    assert refused(Guard(ABROAD)) == 403
    assert refused(Guard(ABROAD), BEARER) == 403


@pytest.mark.parametrize("host", [LOCAL, ABROAD])
def test_who_has_the_token_may_ask(host: str):
    assert refused(Guard(host, TOKEN), BEARER) == 0
    assert refused(Guard(host, TOKEN), ("authorization", "bearer a token")) == 0


def test_off_loopback_the_token_stands_for_the_host():
    assert refused(Guard(ABROAD, TOKEN), BEARER, ("Host", "admin.example")) == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer a toke")],
        [("Authorization", "Bearer a token2")],
        [("Authorization", "Bearer \udcff")],
        [("Authorization", "Basic a token")],
        [("Authorization", "a token")],
        [BEARER, ("Authorization", "Bearer other")],
    ],
    ids=str,
)
@pytest.mark.parametrize("host", [LOCAL, ABROAD])
def test_who_has_not_is_refused(host: str, headers: list[tuple[str, str]]):
    assert refused(Guard(host, TOKEN), *headers) == 401


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Gateway-Admin", "1")],
        [("x-gateway-admin", "1"), ("Content-Type", "application/json")],
        [("X-Gateway-Admin", "1"), ("Content-Type", "Application/JSON; charset=utf-8")],
    ],
    ids=str,
)
def test_a_change_may_be_asked_for_by_a_header_that_no_form_has(headers: list[tuple[str, str]]):
    Guard(LOCAL).admit_change(asking(*headers))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 403),
        ([("X-Gateway-Admin", "")], 403),
        ([("X-Gateway-Admin", "true")], 403),
        ([("X-Gateway-Admin", "1"), ("Content-Type", "text/plain")], 415),
        ([("X-Gateway-Admin", "1"), ("Content-Type", "application/x-www-form-urlencoded")], 415),
        ([("X-Gateway-Admin", "1"), ("Content-Type", "multipart/form-data; boundary=x")], 415),
        ([("X-Gateway-Admin", "1"), ("Content-Type", "application/json"), ("Content-Type", "text/plain")], 415),
    ],
    ids=str,
)
def test_what_a_page_of_another_site_can_send_changes_nothing(headers: list[tuple[str, str]], status: int):
    with pytest.raises(Denied) as denied:
        Guard(LOCAL).admit_change(asking(*headers))

    assert denied.value.status == status
