"""gateway check."""

from pathlib import Path

import pytest

from tests.terminal import run

BROKEN = """
route: a-to-b
receive: {provider: zstak, credentials: none}
send: {provider: zstack, url: "http://h", credential: {secret: s}}
"""
ROUTE = """
route: acme-to-zstack
receive: {provider: acme, credentials: [{secret: s}]}
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


def test_the_shipped_specs_and_routes_are_sound() -> None:
    ended = run("check", "routes.d")

    warnings = ended.errors.splitlines()
    assert ended.code == 0
    assert ended.output.endswith(f" passed, 0 errors, {len(warnings)} warnings\n")
    assert all("warning: the environment variable" in line for line in warnings)


def test_an_empty_folder_leaves_the_shipped_specs(tmp_path: Path) -> None:
    ended = run("check", tmp_path)

    assert (ended.code, ended.errors) == (0, "")
    assert ", 0 routes, " in ended.output


def test_strict_lets_warnings_fail() -> None:
    assert run("check", "routes.d", "--strict").code == 1


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
        "acme: case 'one point': points[0].value: expected 2, got 1"
    ]


def test_json_holds_diagnostics_failures_and_the_count(tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING)
    (tmp_path / "caseless.yaml").write_text(ROUTE)

    ended = run("check", tmp_path, "--json")

    [failure] = ended.json["failures"]
    assert (ended.code, ended.errors) == (1, "")
    assert (failure["in"], failure["case"]) == ("acme", "one point")
    assert ended.json["passed"] > 50
    assert {"severity", "file", "line", "column", "path", "what", "hint"} == set(ended.json["diagnostics"][0])


@pytest.mark.parametrize("data", [b"\x00\xff\xfe", b"\x7fELF\x02\x01", b"a: [", b"\xef\xbb\xbfa: b"], ids=repr)
def test_garbage_is_a_diagnostic(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "garbage.yaml").write_bytes(data)

    ended = run("check", tmp_path)

    assert ended.code == 1
    assert ended.complaint.startswith(f"{tmp_path}/garbage.yaml:")


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    ended = run("check", tmp_path / "none")

    assert (ended.code, ended.complaint) == (1, f"gateway: there is no folder {tmp_path}/none")


def test_a_file_is_no_folder() -> None:
    ended = run("check", "README.md")

    assert (ended.code, ended.complaint) == (1, "gateway: README.md is not a folder")
