"""gateway show."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kinds import COUNTS, WHOLE
from tests.support.terminal import run

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


def shown(name: str, *options: object) -> dict[str, Any]:
    """Return what is shown, read as YAML."""
    ended = run("show", name, *options)
    assert ended.code == 0
    return yaml.safe_load(ended.output)  # type: ignore[no-any-return]


def test_a_route_is_shown_with_its_defaults_its_calls_and_its_loss(routes: Path) -> None:
    ended = run("show", "whole-to-counts", "--routes", routes)

    assert ended.output.splitlines() == [
        "route: whole-to-counts",
        "receive:",
        "  provider: whole",
        "  credentials:",
        "  - {secret: '***'}",
        "  - {secret: '***'}",
        "  from: [10.0.0.0/8, 192.168.0.0/16]",
        "  hide_unknown_keys: false",
        "  max_body_bytes: 1048576",
        "  read_timeout_s: 10",
        "send:",
        "  provider: counts",
        "  url: https://counts.example/base",
        "  credential: {secret: '***'}",
        "  limits: {ordered: false}",
        "  connect_timeout_s: 2",
        "points:",
        "  keep: value != `0`",
        "  set: {unit: '`null`'}",
        "  stats: avg",
        "  allow_loss: [namespace, attributes, value]",
        "delivery: {mode: direct, timeout_s: 7, coalesce: true}",
        "calls: [POST /whole]",
        "loss:",
        "  send:",
        "    namespace: it does not arrive; series would merge (accepted)",
        "    attributes: only host arrives; series would merge (accepted)",
        "    time_ns: only whole seconds arrive",
        "    value: only integers arrive (accepted)",
    ]
    assert ended.errors == (
        f"{routes}/route.yaml:8:13: warning: send.provider: counts loses time_ns (only whole seconds arrive); if this "
        "is acceptable, write `points: {allow_loss: [namespace, attributes, value, time_ns]}`\n"
    )


def test_json_has_the_same_and_the_warnings(routes: Path) -> None:
    ended = run("show", "whole-to-counts", "--routes", routes, "--json")

    warnings = [each.partition(": ")[0] for each in ended.json["warnings"]]
    assert warnings == [f"{routes}/route.yaml:8:13"]
    assert ended.json == shown("whole-to-counts", "--routes", routes) | {"warnings": ended.json["warnings"]}


def test_a_mirror_is_shown_with_its_loss(routes: Path) -> None:
    mirror = "{mirror: copy, provider: whole, url: 'http://m.example', delivery: {mode: queued}}"
    (routes / "route.yaml").write_text(f"{ROUTE}mirrors: [{mirror}]\n")

    route = shown("whole-to-counts", "--routes", routes)

    assert [(each["mirror"], each["delivery"]["mode"]) for each in route["mirrors"]] == [("copy", "queued")]
    assert list(route["loss"]) == ["send", "copy"]


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_secret_is_never_shown_even_if_it_is_repeated(routes: Path, form: tuple[str, ...]) -> None:
    text = ROUTE.replace("https://counts.example/base", "https://counts.example/third-secret")
    (routes / "route.yaml").write_text(text)

    ended = run("show", "whole-to-counts", "--routes", routes, *form)

    assert "https://counts.example/***" in ended.output
    assert [secret for secret in ("first", "second", "third") if f"{secret}-secret" in ended.output] == []


@pytest.mark.parametrize("key", ["a-key-id", None])
def test_key_ids_are_shown(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    if key is not None:
        monkeypatch.setenv("TENCENT_SECRET_ID", key)

    assert shown("zstack-to-tencent")["send"]["credential"] == {"key": key or "unset", "secret": "***"}


def test_no_variable_needs_to_be_set(routes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUT")

    ended = run("show", "whole-to-counts", "--routes", routes)

    assert ended.code == 0
    assert "the environment variable OUT is not set" in ended.errors


def test_warnings_of_other_routes_are_left_out(routes: Path) -> None:
    (routes / "other.yaml").write_text(
        ROUTE.replace("whole-to-counts", "other").replace("allow_loss: [", "allow_loss: [unit, ")
    )

    assert "other.yaml" not in run("show", "whole-to-counts", "--routes", routes).errors


def test_a_provider_is_shown_with_what_it_can_represent(routes: Path) -> None:
    provider = shown("counts", "--routes", routes)

    assert provider["receive"]["verify"] == ["session"]
    assert provider["receive"]["on_bad_item"] == "reject_report"
    assert provider["rules"]["time_ns"]["max_age_s"] == 300
    words = {"namespace": "no", "metric": "yes", "value": "integers", "stats": "no", "unit": "no", "time": "s"}
    assert provider["represents"] == {form: {**words, "attributes": "host"} for form in ("json", "form")}


def test_a_recipe_is_shown_with_its_defaults(routes: Path) -> None:
    recipe = shown("keyed", "--routes", routes)

    assert recipe["slots"]["zone"] == {"kind": "given", "optional": True}
    assert recipe["carry"][1] | {"header": "x-zone", "value": "{zone}", "optional": True} == recipe["carry"][1]


def test_cases_and_vectors_are_left_out() -> None:
    assert "cases" not in shown("zstack")
    assert "vectors" not in shown("zstack-access-key")


def test_specs_of_one_name_are_all_shown() -> None:
    ended = run("show", "tencent-receiver", "--json")

    assert [next(iter(spec)) for spec in ended.json] == ["provider", "recipe"]


def test_an_unknown_name_is_one_line_with_the_nearest_one(routes: Path) -> None:
    ended = run("show", "whole-to-count", "--routes", routes)

    assert (ended.code, ended.output) == (1, "")
    said = "gateway: no route, provider or recipe is named 'whole-to-count'; did you mean 'whole-to-counts'?"
    assert ended.complaint == said


def test_a_route_that_does_not_load_is_reported_with_its_mistakes(routes: Path) -> None:
    (routes / "route.yaml").write_text(ROUTE.replace("provider: counts", "provider: cuonts"))

    ended = run("show", "whole-to-counts", "--routes", routes)

    assert ended.code == 1
    assert "no provider is named 'cuonts'" in ended.errors


def test_shipped_specs_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("show", "bearer").code == 0
