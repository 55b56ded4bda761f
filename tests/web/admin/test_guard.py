"""Access to the admin API."""

import pytest

from gateway.core.http.request import Headers, Request, Secret
from gateway.web.admin.guard import Denied, Guard, is_local

LOCAL, ABROAD = "127.0.0.1", "0.0.0.0"
TOKEN = Secret("a token")
BEARER = ("Authorization", "Bearer a token")


def status_of(guard: Guard, *headers: tuple[str, str]) -> int:
    """Return the status of a rejected call, or 0."""
    try:
        guard.admit(call(*headers))
    except Denied as denied:
        return denied.status
    return 0


def call(*headers: tuple[str, str]) -> Request:
    named: Headers = headers if any(name == "Host" for name, _ in headers) else (*headers, ("Host", "localhost"))
    return Request("POST", "/api/x", named)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost"])
def test_loopback_is_local(host: str):
    assert is_local(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "gateway", "localhost.example", "127.0.0.1.example"])
def test_other_hosts_are_not_local(host: str):
    assert not is_local(host)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9091", "127.0.0.1:1", "[::1]", "[::1]:9091", "LOCALHOST", "127.0.0.9:9091"],
)
def test_on_loopback_the_host_must_be_this_machine(host: str):
    assert status_of(Guard("127.0.0.9"), ("Host", host)) == 0


@pytest.mark.parametrize(
    "hosts",
    [["evil.example"], ["evil.example:9091"], ["localhost.evil.example"], [""], ["localhost", "evil.example"]],
    ids=" and ".join,
)
@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
def test_on_loopback_a_foreign_host_is_rejected(hosts: list[str], token: Secret | None):
    assert status_of(Guard(LOCAL, token), BEARER, *(("Host", host) for host in hosts)) == 403


def test_off_loopback_a_token_is_required():
    assert status_of(Guard(ABROAD)) == 403
    assert status_of(Guard(ABROAD), BEARER) == 403


@pytest.mark.parametrize("host", [LOCAL, ABROAD])
def test_the_token_gives_access(host: str):
    assert status_of(Guard(host, TOKEN), BEARER) == 0
    assert status_of(Guard(host, TOKEN), ("authorization", "bearer a token")) == 0


def test_off_loopback_any_host_is_accepted_with_the_token():
    assert status_of(Guard(ABROAD, TOKEN), BEARER, ("Host", "admin.example")) == 0


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
def test_a_wrong_token_is_rejected(host: str, headers: list[tuple[str, str]]):
    assert status_of(Guard(host, TOKEN), *headers) == 401


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Gateway-Admin", "1")],
        [("x-gateway-admin", "1"), ("Content-Type", "application/json")],
        [("X-Gateway-Admin", "1"), ("Content-Type", "Application/JSON; charset=utf-8")],
    ],
    ids=str,
)
def test_a_change_is_accepted_with_the_csrf_header(headers: list[tuple[str, str]]):
    Guard(LOCAL).admit_change(call(*headers))


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
def test_a_change_without_the_csrf_header_is_rejected(headers: list[tuple[str, str]], status: int):
    with pytest.raises(Denied) as denied:
        Guard(LOCAL).admit_change(call(*headers))

    assert denied.value.status == status
