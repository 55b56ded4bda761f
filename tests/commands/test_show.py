"""gateway show."""

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.kinds import COUNTS, NARROW, WHOLE
from tests.support.terminal import Ended, run

SPECS = """\
recipe: session
slots: {session: {kind: secret}}
carry: [{header: authorization, value: "{session}"}]
---
recipe: keyed
slots:
  key: {kind: key}
  zone: {kind: given, optional: true}
  signature: {kind: signature, of: "{key}", hmac: sha256, key: "{secret}", as: hex}
carry:
  - {header: x-key, value: "{key}"}
  - {header: x-zone, value: "{zone}", optional: true}
  - {header: x-signature, value: "{signature}"}
"""
ROUTE = """\
route: whole-to-counts
receive:
  provider: whole
  credentials: [{secret: "${IN}"}, {secret: second-secret}]
  from: [10.0.0.0/8, 192.168.0.0/16]
  given: {}
send:
  provider: counts
  url: https://counts.example/base
  credential: {secret: "${OUT}"}
points: {keep: "value != `0`", set: {unit: "`null`"}, stats: avg, allow_loss: [namespace, attributes, value]}
delivery: {timeout_s: 7}
"""


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    counts = COUNTS.replace("  requests:\n    json: {method", "  sign: session\n  requests:\n    json: {method")
    (tmp_path / "own.yaml").write_text("---\n".join([SPECS, WHOLE, counts]))
    (tmp_path / "route.yaml").write_text(ROUTE)
    monkeypatch.setenv("IN", "first-secret")
    monkeypatch.setenv("OUT", "third-secret")
    return tmp_path


def shown(name: str, routes: Path) -> list[str]:
    ended = run("show", name, "--routes", routes)
    assert (ended.code, ended.errors) == (0, "")
    return ended.output.splitlines()


def test_route_is_shown_with_both_sides_and_what_is_lost(routes: Path) -> None:
    assert shown("whole-to-counts", routes) == [
        "── route whole-to-counts",
        "from         whole",
        "listens for  POST /whole, body json",
        "reporters    session: 2 secrets ***",
        "networks     10.0.0.0/8, 192.168.0.0/16",
        "takes        bodies of up to 1048576 bytes, within 10 s",
        "to           counts",
        "calls        POST https://counts.example/base/, request json",
        "signs        session: secret ***",
        "rules out    value    integer",
        "             time_ns  max_age_s 300, max_ahead_s 0",
        "points       keep        not all of them",
        "             set         unit",
        "             stats       avg becomes the value",
        "             allow_loss  namespace, attributes, value",
        "lost         namespace   it does not arrive; series would merge (accepted)",
        "             attributes  only host arrives; series would merge (accepted)",
        "             time_ns     only whole seconds arrive",
        "             value       only integers arrive (accepted)",
        "delivery     direct, within 7 s, 2 s to connect",
        f"warnings     {routes}/route.yaml:8:13: warning: send.provider: counts loses time_ns "
        "(only whole seconds arrive); if that will do, write "
        "`points: {allow_loss: [namespace, attributes, value, time_ns]}`",
    ]


def test_delivery_is_shown_as_it_is(routes: Path) -> None:
    (routes / "ca.pem").write_bytes(Authority(routes, "an").file.read_bytes())
    limits = "  limits: {points: 20, requests_per_s: 2.5, concurrency: 3, ordered: true}\n"
    text = ROUTE.replace("points:", f"{limits}  tls: {{ca: ca.pem}}\npoints:")
    text = text.replace("{timeout_s: 7}", "{mode: queued, timeout_s: 7, coalesce: false}")
    (routes / "route.yaml").write_text(text)

    facts = run("show", "whole-to-counts", "--routes", routes, "--json").json

    assert facts["delivery"] == "queued, each call within 7 s, 2 s to connect, each report by itself"
    assert facts["limits"] == "20 points a call, 3 calls at a time, 2.5 calls a second, in order"
    assert facts["tls"] == "ca ca.pem"


def test_mirror_is_shown_with_what_it_loses_and_no_secret(routes: Path) -> None:
    mirror = "{mirror: copy, provider: whole, url: 'http://m.example', delivery: {mode: queued}}"
    (routes / "route.yaml").write_text(f"{ROUTE}mirrors: [{mirror}]\n")

    lines = shown("whole-to-counts", routes)

    assert [line for line in lines if line.startswith("mirror")] == ["mirror copy  to        whole"]
    assert any(line.startswith("             calls     POST http://m.example/whole, ") for line in lines)
    assert any(line.startswith("             loses     ") for line in lines)
    assert "             delivery  queued, each call within 5 s, 2 s to connect" in lines


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_secret_is_never_shown_wherever_it_was_written_again(routes: Path, form: tuple[str, ...]) -> None:
    text = ROUTE.replace("https://counts.example/base", "https://counts.example/third-secret")
    (routes / "route.yaml").write_text(text)

    ended = run("show", "whole-to-counts", "--routes", routes, *form)

    assert "https://counts.example/***" in ended.output
    assert [secret for secret in ("first", "second", "third") if f"{secret}-secret" in ended.output] == []


def test_key_ids_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCENT_SECRET_ID", "a-key-id")

    facts = run("show", "zstack-to-tencent", "--json").json

    assert facts["signs"] == "tencent-receiver: key a-key-id, secret ***"


def test_key_without_a_value_is_no_secret() -> None:
    assert run("show", "zstack-to-tencent", "--json").json["signs"] == "tencent-receiver: key unset, secret ***"


def test_of_a_map_that_is_given_only_the_size_is_shown(routes: Path) -> None:
    narrow = NARROW.replace("provider: narrow", "provider: narrow\nurl: http://narrow.example")
    (routes / "narrow.yaml").write_text(narrow)

    assert run("show", "narrow", "--routes", routes, "--json").json["given"] == {"units": "4 entries"}


def test_no_variable_needs_to_be_set(routes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUT")

    lines = shown("whole-to-counts", routes)

    assert "signs        session: secret ***" in lines
    assert any("the environment variable OUT is not set" in line for line in lines)


def test_other_routes_are_none_of_its_warnings(routes: Path) -> None:
    (routes / "other.yaml").write_text(
        ROUTE.replace("whole-to-counts", "other").replace("allow_loss: [", "allow_loss: [unit, ")
    )

    facts = run("show", "whole-to-counts", "--routes", routes, "--json").json

    assert [line for line in facts["warnings"] if "other.yaml" in line] == []


def test_provider_is_shown_with_its_calls_and_what_it_holds(routes: Path) -> None:
    assert shown("counts", routes) == [
        "── provider counts",
        "title        counts",
        "roles        receive, send",
        "receives     form  POST /, body form, where type */x-www-form-urlencoded",
        "             json  POST /, body json",
        "verified by  session",
        "a bad item   refuses the whole report",
        "sends        json  POST /, body json, signed by session",
        "             form  POST /, body form, signed by session",
        "holds        namespace   no",
        "             metric      yes",
        "             value       integers",
        "             stats       no",
        "             unit        no",
        "             time        s",
        "             attributes  host",
        "rules        value    integer",
        "             time_ns  max_age_s 300, max_ahead_s 0",
    ]


def test_provider_says_what_it_needs_and_how_it_logs_in() -> None:
    facts = run("show", "zstack", "--json").json

    assert (
        facts["logs_in"] == "for zstack-session: PUT /zstack/v1/accounts/login, signed by zstack-login, good for 7200 s"
    )
    assert facts["answers"]["logout"] == "DELETE /zstack/v1/accounts/sessions/{token}, ends zstack-session"


def test_route_says_where_it_logs_in() -> None:
    facts = run("show", "tencent-to-zstack", "--json").json

    call = "PUT http://zstack:8080/zstack/v1/accounts/login"
    assert facts["logs_in"] == f"for zstack-session: {call}, signed by zstack-login, good for 7200 s"


def test_requests_that_hold_something_else_are_told_apart(routes: Path) -> None:
    text = (routes / "own.yaml").read_text().replace("at: at, host: host}, '.0')", "at: at}, '.0')")
    (routes / "own.yaml").write_text(text)

    facts = run("show", "counts", "--routes", routes, "--json").json

    assert (facts["holds"]["attributes"], facts["holds_by_form"]["attributes"]) == ("host", "no")


def test_recipe_is_shown_with_where_it_sits_and_who_uses_it(routes: Path) -> None:
    assert shown("keyed", routes) == [
        "── recipe keyed",
        "credential   a key and its secret",
        "carried in   header x-key: key",
        "             header x-zone: zone, optional",
        "             header x-signature: signature",
        "signature    hmac sha256",
        "needs        zone",
    ]
    assert shown("session", routes)[-2:] == [
        "used by      whole   verifies",
        "             counts  verifies, signs",
    ]


def test_specs_of_one_name_are_all_shown() -> None:
    ended: Ended = run("show", "tencent-receiver", "--json")

    assert [next(iter(facts)) for facts in ended.json] == ["provider", "recipe"]


def test_unknown_name_is_one_line_with_the_nearest_one(routes: Path) -> None:
    ended = run("show", "whole-to-count", "--routes", routes)

    assert (ended.code, ended.output) == (1, "")
    assert (
        ended.complaint
        == "gateway: nothing that can be shown is named 'whole-to-count'; did you mean 'whole-to-counts'?"
    )


def test_route_that_does_not_load_is_told_with_its_mistakes(routes: Path) -> None:
    (routes / "route.yaml").write_text(ROUTE.replace("provider: counts", "provider: cuonts"))

    ended = run("show", "whole-to-counts", "--routes", routes)

    assert ended.code == 1
    assert "no provider is named 'cuonts'" in ended.errors


def test_what_is_shipped_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("show", "bearer").code == 0


def test_large_numbers_are_shown_with_every_digit(tmp_path: Path) -> None:
    send = "send: {item: metric, request: {method: POST, path: /}}"
    (tmp_path / "own.yaml").write_text(f"provider: patient\nrules: {{time_ns: {{max_age_s: 2592000}}}}\n{send}")

    assert "max_age_s 2592000" in run("show", "patient", "--routes", tmp_path).output
