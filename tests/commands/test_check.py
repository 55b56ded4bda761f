"""gateway check."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.kinds import LOGGING_IN
from tests.support.terminal import Ended, run

BROKEN = """
route: a-to-b
receive: {provider: zstak, credentials: none}
send: {provider: zstack, url: "http://h", credential: {secret: s3cret}}
"""
ROUTE = """
route: acme-to-zstack
receive: {provider: acme, credentials: [{secret: s3cret}]}
send: {provider: zstack, url: "http://h", credential: {secret: "${NOT_SET}"}}
points: {set: {namespace: "'n'"}}
"""
FAILING = """
recipe: acme
slots: {token: {kind: secret}}
carry: [{header: authorization, value: "Bearer {token}"}]
---
provider: acme
receive:
  request: {method: POST, path: /acme, body: json}
  verify: [acme]
  each: {item: body.points}
  point: {metric: item.name, value: item.value}
cases:
  - case: one point
    request: {json: {points: [{name: load, value: 1}]}}
    points: [{metric: load, value: 2}]
"""
OPEN = """
route: open
receive: {provider: zstack, credentials: none}
send: {provider: zstack, url: "http://h", credential: {secret: 0123456789abcdef0123456789abcdef}}
points: {set: {namespace: "'n'"}}
"""
VECTOR = """
- vector: one
  source: made up
  now: 1700000000
  secret: s3cret
  request: "POST / HTTP/1.1\\nHost: h\\nAuthorization: Bearer other\\n\\n"
"""
HEX = """\
recipe: acme
slots: {token: {kind: secret, chars: "[0-9a-f]{32}"}}
carry: [{header: x-key, value: "{token}"}]
---
provider: acme
receive:
  request: {method: POST, path: /acme, body: json}
  verify: [acme]
  each: {item: body}
  point: {metric: item.m, value: item.v}
"""
HEX_ROUTE = """\
---
route: in
receive: {provider: acme, credentials: [{secret: "${NOT_SET}"}], from: [10.0.0.0/8]}
send:
  provider: tencent-receiver
  url: http://h
  credential: {key: k, secret: s3cret}
  given: {region: sh}
points: {allow_loss: [time_ns], set: {attributes: {a: "'b'"}, namespace: "'n'"}}
"""
PASSING = """\
  - case: passing
    env: {NOT_SET: 0123456789abcdef0123456789abcdef}
    request: {json: [{m: a, v: 1}]}
    points: [{metric: a, value: 1}]
"""
WRONG = PASSING.replace("passing", "wrong").replace("value: 1", "value: 2")
UNSET = PASSING.replace("passing", "unset").replace("NOT_SET: ", "OTHER: ")
LOGIN = """
provider: acme
needs: [domain]
send:
  url: http://h
  item: {m: metric, v: value}
  request: {method: POST, path: /, json: items}
  sign: zstack-session
  login:
    for: zstack-session
    request: {method: POST, path: /login, json: {domain: given.domain}}
    sign: zstack-login
    token: body.token
    lifetime_s: 60
cases:
  - case: logging in
    login: {sends: {path: /login, json: {domain: domain}}, answer: {json: {token: t}}, token: t}
  - {case: sending, points: [{metric: m, value: 1}], sends: [{}]}
"""


@cache
def shipped_cases() -> int:
    return int(run("check", "--json", "docs").json["passed"])


def passed(ended: Ended) -> tuple[int, int]:
    """Return how many cases failed, as a negative number, and how many there are beside those of the shipped specs."""
    passed, total = map(int, re.findall(r"(\d+) of (\d+) cases passed", ended.output)[0])
    return passed - total, total - shipped_cases()


def test_shipped_specs_and_routes_have_no_errors() -> None:
    ended = run("check", "routes.d")

    assert ended.code == 0
    assert ended.output.endswith(" passed, 0 errors, 0 warnings\n")
    assert all("note: the environment variable" in line for line in ended.errors.splitlines())


def test_an_empty_folder_leaves_the_shipped_specs(tmp_path: Path) -> None:
    ended = run("check", tmp_path)

    assert (ended.code, ended.errors) == (0, "")
    assert ", 0 routes, " in ended.output


def test_the_shipped_specs_pass_strict_without_a_variable() -> None:
    assert run("check", "routes.d", "--strict").code == 0


def test_strict_lets_warnings_fail(tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text(OPEN)

    assert (run("check", tmp_path).code, run("check", tmp_path, "--strict").code) == (0, 1)


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)

    ended = run("check", tmp_path)

    assert ended.code == 1
    assert ended.errors.startswith(f"{tmp_path}/broken.yaml:3:")
    assert "did you mean 'zstack'?" in ended.complaint
    assert ", 1 error, 0 warnings" in ended.output


def test_a_failing_case_names_itself_and_what_differs(tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING)

    ended = run("check", tmp_path)

    assert ended.code == 1
    assert [line for line in ended.errors.splitlines() if "warning" not in line] == [
        f"{tmp_path}/failing.yaml:13:5: acme: case 'one point': points[0].value: expected 2, got 1"
    ]


def test_failing_vector_is_reported_with_its_place(tmp_path: Path) -> None:
    recipe = FAILING.partition("---")[0]
    (tmp_path / "failing.yaml").write_text(f"{recipe}vectors:\n{VECTOR}")

    ended = run("check", tmp_path)

    assert ended.code == 1
    assert ended.complaint.startswith(f"{tmp_path}/failing.yaml:7:3: acme: vector 'one': UNKNOWN_KEY: ")


def test_json_holds_diagnostics_failures_and_the_count(tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING)
    (tmp_path / "caseless.yaml").write_text(ROUTE)

    ended = run("check", tmp_path, "--json")

    [failure] = ended.json["failures"]
    assert (ended.code, ended.errors) == (1, "")
    assert (failure["in"], failure["case"]) == ("acme", "one point")
    assert (failure["file"], failure["line"], failure["column"]) == (f"{tmp_path}/failing.yaml", 13, 5)
    assert ended.json["passed"] > 50
    assert {"severity", "file", "line", "column", "path", "what", "hint"} == set(ended.json["diagnostics"][0])


@pytest.mark.parametrize("data", [b"\x00\xff\xfe", b"\x7fELF\x02\x01", b"a: [", b"\xef\xbb\xbfa: b"], ids=repr)
def test_garbage_is_a_diagnostic(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "garbage.yaml").write_bytes(data)

    ended = run("check", tmp_path)

    assert ended.code == 1
    assert ended.complaint.startswith(f"{tmp_path}/garbage.yaml:")


def test_missing_folder_is_one_line(tmp_path: Path) -> None:
    ended = run("check", tmp_path / "none")

    assert (ended.code, ended.complaint) == (1, f"gateway: there is no folder {tmp_path}/none")


def test_a_file_that_is_not_yaml_is_one_line() -> None:
    ended = run("check", "README.md")

    said = "gateway: README.md is neither a folder nor a file *.yaml or *.yml"
    assert (ended.code, ended.complaint) == (1, said)


def test_one_file_is_checked_with_the_shipped_specs() -> None:
    ended = run("check", "routes.d/zstack-to-tencent.yaml")

    assert ended.code == 0
    assert ", 1 route, " in ended.output


def test_unknown_name_in_a_single_file_points_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING)
    (tmp_path / "route.yaml").write_text(ROUTE)

    ended = run("check", tmp_path / "route.yaml")

    assert ended.code == 1
    assert "no provider is named 'acme'; " in ended.errors
    assert "; a file is checked alone: if another file has it, check their folder\n" in ended.errors


def test_a_route_whose_secret_is_unset_is_counted_and_its_cases_run(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(f"{HEX}{HEX_ROUTE}cases:\n{PASSING}{WRONG}{UNSET}")

    ended = run("check", tmp_path)

    failures = [line for line in ended.errors.splitlines() if ": case " in line]
    assert (ended.code, ", 1 route, " in ended.output, passed(ended)) == (1, True, (-2, 3))
    assert [line.partition(": case ")[2] for line in failures] == [
        "'wrong': points[0].value: expected 2, got 1",
        "'unset': request: acme takes only [0-9a-f]{32} for its slot 'token', "
        "which excludes the credential of this case (its `env` does not set NOT_SET)",
    ]


def test_case_of_an_unbuildable_route_is_a_failure(tmp_path: Path) -> None:
    route = HEX_ROUTE + "delivery: {timeout_s: '${TIMEOUT}'}\n"
    (tmp_path / "acme.yaml").write_text(f"{HEX}{route}cases:\n{PASSING}")

    ended = run("check", tmp_path)

    assert (ended.code, ", 1 route, " in ended.output, passed(ended)) == (1, True, (-1, 1))
    assert "acme.yaml:22:5: in: case 'passing': cannot be run: its `env` does not set TIMEOUT\n" in ended.errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FAILING.replace("item.value", "itm.value"), "1 case of acme not run: the provider has errors"),
        (FAILING.replace('"Bearer {token}"', '"{tokn}"'), "1 case of acme not run: a spec that it names has errors"),
    ],
    ids=["of a provider with errors", "of a provider whose recipe has errors"],
)
def test_unrunnable_cases_are_counted(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "acme.yaml").write_text(text)

    ended = run("check", tmp_path)

    assert (ended.code, passed(ended)) == (1, (-1, 1))
    assert said in ended.errors


def test_rsa_vectors_are_reported_as_not_run_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.commands.check.find_spec", lambda name: None)

    ended = run("check", tmp_path)

    assert ended.code == 0
    assert "1 vector of oci-cavage not run: RSA needs a package: pip install 'metric-gateway[rsa]'" in ended.errors
    assert "46 of 48 vectors passed" in ended.output


def test_cases_of_a_route_whose_only_credential_logs_in_run(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(LOGGING_IN)

    ended = run("check", tmp_path)

    assert (ended.code, ended.errors) == (0, "")


def test_login_of_a_case_is_checked(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(LOGIN)
    (tmp_path / "wrong.yaml").write_text(
        LOGIN.replace("provider: acme", "provider: other").replace("}}, token: t", "}}, token: x")
    )

    ended = run("check", tmp_path)

    [failure] = [line for line in ended.errors.splitlines() if "note:" not in line]
    assert failure.endswith('other: case \'logging in\': login.token: expected "x", got "t"')


def test_the_credential_of_provider_cases_fits_the_recipe(tmp_path: Path) -> None:
    text = HEX + "cases: [{case: one, request: {json: [{m: a, v: 1}]}, points: [{metric: a}]}]\n"
    (tmp_path / "acme.yaml").write_text(text)
    (tmp_path / "odd.yaml").write_text(text.replace("[0-9a-f]{32}", "x+").replace("acme", "odd"))

    ended = run("check", tmp_path)

    [failure] = [line for line in ended.errors.splitlines() if ": case " in line]
    assert failure == (
        f"{tmp_path}/odd.yaml:11:9: odd: case 'one': request: odd takes only x+ for its slot 'token', "
        "which excludes the credential of this case"
    )
