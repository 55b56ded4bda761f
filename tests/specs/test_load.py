from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from gateway.core.http.received import DEFAULT_CAPS, Caps
from gateway.core.http.request import Request
from gateway.files import fingerprint
from gateway.proof.cases.run import run_case
from gateway.specs.load import Specs, load

SESSION = """\
recipe: acme-session
slots: {session: {kind: secret}}
carry: [{header: authorization, value: "{session}"}]
"""
ACME = """\
provider: acme
receive:
  request: {method: POST, path: /acme, body: json}
  verify: [acme-session]
  each: {item: body}
  point: {metric: item.m, value: item.v, unit: item.u}
send:
  url: http://acme.example
  item: {m: metric, v: value, u: unit}
  request: {method: POST, path: /acme, json: items}
  sign: acme-session
"""
ROUTE = """\
route: a
receive: {provider: acme, credentials: [{secret: "${IN:-inward}"}], from: [10.0.0.0/8]}
send: {provider: acme, credential: {secret: "${OUT}"}}
"""
ALL = f"{ROUTE}---\n{ACME}---\n{SESSION}"


def loaded(
    folder: Path,
    files: Mapping[str, str],
    environ: Mapping[str, str] | None = None,
    *,
    only: Collection[str] | None = None,
    trials: bool = False,
    strict: bool = True,
) -> tuple[Specs, list[str]]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    specs = load(folder, environ or {}, only=only, trials=trials, strict_environment=strict)
    return specs, messages(specs, folder)


def messages(specs: Specs, folder: Path) -> list[str]:
    return [str(found).replace(f"{folder}/", "") for found in specs.diagnostics]


def test_shipped_specs_load_without_diagnostics():
    specs = load(None, {})

    assert len(specs.diagnostics) == 0
    assert {"zstack-session", "tencent-receiver"} <= specs.recipes.keys()
    assert {"zstack", "tencent-receiver"} <= specs.providers.keys()
    assert specs.routes == {}


def test_shipped_specs_are_built_once(tmp_path: Path):
    first, (second, _) = load(None, {}), loaded(tmp_path, {"own.yaml": ALL}, {"OUT": "outward"})

    assert second.recipes["zstack-session"] is first.recipes["zstack-session"]
    assert second.providers["zstack"] is first.providers["zstack"]


def test_specs_may_be_in_any_file_below_the_folder(tmp_path: Path):
    files = {"a.yaml": ROUTE, "deep/er/b.yml": f"{ACME}---\n{SESSION}", "notes.txt": "no: [yaml"}

    specs, found = loaded(tmp_path, files, {"OUT": "outward"})

    assert found == []
    assert list(specs.routes) == ["a"]
    assert [secret.reveal() for secret in specs.routes["a"].secrets] == ["inward", "outward"]


@pytest.mark.parametrize("name", [".a.yaml", ".a.yaml.yml", "..2026/a.yaml", "below/.drafts/a.yaml"])
def test_hidden_file_is_ignored(tmp_path: Path, name: str):
    specs, found = loaded(tmp_path / ".config", {"own.yaml": ALL, name: ALL}, {"OUT": "outward"})

    assert (list(specs.routes), found) == (["a"], [])


def test_load_returns_the_fingerprints_of_its_files(tmp_path: Path):
    (tmp_path / "secret").write_text("outward")
    route = ALL.replace("${OUT}", f"${{file:{tmp_path}/secret}}").replace("${IN:-inward}", f"${{file:{tmp_path}/none}}")

    specs, _ = loaded(tmp_path, {"a.yaml": route})

    assert specs.files == {
        tmp_path / "a.yaml": fingerprint(tmp_path / "a.yaml"),
        tmp_path / "none": None,
        tmp_path / "secret": fingerprint(tmp_path / "secret"),
    }


def test_snapshot_finds_the_routes(tmp_path: Path):
    specs, _ = loaded(tmp_path, {"a.yaml": ALL}, {"OUT": "outward"})

    match = specs.snapshot.match(Request("POST", "/acme"))

    assert match is not None
    assert match.route is specs.routes["a"]


def test_spec_replaces_a_shipped_one_of_its_name(tmp_path: Path):
    text = SESSION.replace("acme-session", "zstack-session").replace("authorization", "x-session")

    specs, found = loaded(tmp_path, {"own.yaml": text})

    assert found == ["own.yaml:1:9: note: recipe: replaces the shipped recipe 'zstack-session'"]
    assert specs.providers["zstack"].receive is not None
    assert specs.providers["zstack"].receive.verify[0].carriers[0].name == "x-session"


def test_replacement_does_not_outlive_its_load(tmp_path: Path):
    text = SESSION.replace("acme-session", "zstack-session").replace("authorization", "x-session")
    loaded(tmp_path, {"own.yaml": text})

    provider = load(None, {}).providers["zstack"]

    assert provider.receive is not None
    assert provider.receive.verify[0].carriers[0].name == "authorization"


def test_duplicate_name_is_an_error(tmp_path: Path):
    _, found = loaded(tmp_path, {"a.yaml": SESSION, "b.yaml": SESSION})

    assert found == ["b.yaml:1:9: recipe: 'acme-session' is already defined at a.yaml:1:1"]


def test_same_name_of_another_kind_is_another_spec(tmp_path: Path):
    specs, found = loaded(tmp_path, {"a.yaml": f"{ACME}---\n{SESSION}".replace("acme-session", "acme")})

    assert found == []
    assert "acme" in specs.recipes.keys() & specs.providers.keys()


@pytest.mark.parametrize(
    ("point", "item", "held"),
    [
        pytest.param("stats: item.s", "s: stats", {"count", "sum", "min", "max", "avg", "last"}, id="all"),
        pytest.param("stats: {max: item.max}", "max: stats.max", {"max"}, id="one"),
        pytest.param("stats: item.s", "n: namespace", set(), id="read and never sent"),
    ],
)
def test_target_knows_the_statistics_that_its_calls_hold(tmp_path: Path, point: str, item: str, held: set[str]):
    acme = ACME.replace("unit: item.u", f"{point}, unit: item.u").replace("u: unit", f"u: unit, {item}")

    specs, _ = loaded(tmp_path, {"a.yaml": f"{ROUTE}---\n{acme}---\n{SESSION}"}, {"OUT": "outward"})

    assert specs.routes["a"].target.holds_stats == held


def test_target_without_receive_counts_as_holding_all_statistics(tmp_path: Path):
    mute = ACME[: ACME.index("receive:")] + ACME[ACME.index("send:") :]
    mute = mute.replace("provider: acme", "provider: mute")
    route = ROUTE.replace("send: {provider: acme", "send: {provider: mute")

    specs, _ = loaded(tmp_path, {"a.yaml": "---\n".join([route, ACME, mute, SESSION])}, {"OUT": "outward"})

    assert len(specs.routes["a"].target.holds_stats) == 6


def test_attributes_that_a_route_reads_are_stated_when_its_loss_is_computed(tmp_path: Path):
    acme = ACME.replace("unit: item.u", "unit: item.u, attributes: item.a").replace("u: unit", "u: unit, a: attributes")
    route = ROUTE + "points: {set: {unit: \"join('', [attributes.team])\"}}\n"
    lossy = acme.replace("provider: acme", "provider: lossy").replace("u: unit, ", "").replace("/acme", "/lossy")
    route = route.replace("send: {provider: acme", "send: {provider: lossy")

    _, found = loaded(tmp_path, {"a.yaml": "---\n".join([route, acme, lossy, SESSION])}, {"OUT": "outward"})

    hint = "if this is acceptable, write `points: {allow_loss: [unit]}`"
    what = f"send.provider: lossy loses unit (it does not arrive); {hint}"
    assert found == [f"a.yaml:3:18: warning: {what}"]


def calling(received: str, sent: str) -> str:
    """Return acme with other paths."""
    return ACME.replace("path: /acme, body", f'path: "{received}", body').replace("/acme, json", f"{sent}, json")


@pytest.mark.parametrize(
    ("path", "other", "are_told_apart"),
    [
        pytest.param("/acme", "/acme", False, id="the same path"),
        pytest.param("/{x}/data", "/{y}/data", False, id="captured under other names"),
        pytest.param("/acme", "/other", True, id="another path"),
    ],
)
def test_routes_with_the_same_call_are_an_error(tmp_path: Path, path: str, other: str, are_told_apart: bool):
    first, second = (calling(at, at.replace("{x}", "p").replace("{y}", "p")) for at in (path, other))
    second = second.replace("provider: acme", "provider: other")
    route = ROUTE.replace("route: a", "route: b").replace("receive: {provider: acme", "receive: {provider: other")

    _, found = loaded(tmp_path, {"a.yaml": "---\n".join([ROUTE, route, first, second, SESSION])}, {"OUT": "outward"})

    what = f"POST {other} is received by the route 'a' too; distinguish them by `match` or `path`"
    assert found == ([] if are_told_apart else [f"a.yaml:6:21: receive.provider: {what}"])


def test_only_the_named_routes_are_loaded(tmp_path: Path):
    broken = ROUTE.replace("route: a", "route: b").replace("provider: acme", "provider: nope")

    specs, found = loaded(tmp_path, {"a.yaml": ALL, "b.yaml": broken}, {"OUT": "outward"}, only=["a"])

    assert (list(specs.routes), found) == (["a"], [])


def test_unknown_route_name_is_an_error(tmp_path: Path):
    _, found = loaded(tmp_path, {"a.yaml": ALL}, only=["aa"])

    assert found == [f"{tmp_path}:1:1: no route is named 'aa'; did you mean 'a'?"]


@pytest.mark.parametrize(
    ("strict", "message"),
    [
        (True, "a.yaml:3:45: the environment variable OUT is not set; set it, or give a default: ${NAME:-default}"),
        (False, "a.yaml:3:45: note: the environment variable OUT is not set"),
    ],
    ids=["serve", "check"],
)
def test_unset_variable_is_an_error_or_a_note(tmp_path: Path, strict: bool, message: str):
    specs, found = loaded(tmp_path, {"a.yaml": ALL}, strict=strict)

    assert found == [message]
    assert list(specs.routes) == ([] if strict else ["a"])


def test_unset_variable_causes_no_further_errors(tmp_path: Path):
    text = ROUTE.replace("send: {provider: acme", 'send: {provider: acme, url: "${URL}"')

    _, found = loaded(tmp_path, {"a.yaml": f"{text}---\n{ACME}---\n{SESSION}"}, {"OUT": "outward"}, strict=False)

    assert found == [
        "a.yaml:1:8: note: route: checked in part: variables that decide how it is built are not set",
        "a.yaml:3:29: note: the environment variable URL is not set",
    ]


def test_errors_of_both_sides_of_a_route_are_reported_together(tmp_path: Path):
    text = ROUTE.replace("from:", "max_body_bytes: x, from:").replace(', credential: {secret: "${OUT}"}', "")

    _, found = loaded(tmp_path, {"a.yaml": f"{text}---\n{ACME}---\n{SESSION}"})

    assert found == [
        "a.yaml:2:85: receive.max_body_bytes: expected an integer, not 'x'",
        "a.yaml:3:7: send: 'credential' is missing: calls to this provider are signed",
    ]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=repr)
def test_trailing_line_break_of_a_secret_file_is_removed(tmp_path: Path, ending: str):
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"s3cret\n" + ending.encode())
    text = ROUTE.replace("${OUT}", f"${{file:{secret}}}")
    session = SESSION.replace("kind: secret", 'kind: secret, chars: "[^,]+"')

    specs, found = loaded(tmp_path, {"a.yaml": f"{text}---\n{ACME}---\n{session}"})

    assert found == []
    assert specs.routes["a"].secrets[1].reveal() == ("s3cret\n" if ending else "s3cret")


def test_secret_is_never_shown(tmp_path: Path):
    text = ROUTE.replace('credential: {secret: "${OUT}"}', 'credential: {secret: "${OUT}", key: 5}, url: "${OUT}"')

    specs, found = loaded(tmp_path, {"a.yaml": f"{text}---\n{ACME}---\n{SESSION}"}, {"OUT": "hush", "IN": "hush"})

    assert len(found) == 2
    assert "hush" not in " ".join(found) + repr(specs)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            ROUTE.replace("${IN:-inward}", "${IN}, ${IN}").replace("${OUT}", "${OUT} ${OUT}"), id="characters"
        ),
        pytest.param(ROUTE.replace('"${IN:-inward}"', '"${IN}", key: k'), id="a needless key"),
        pytest.param(ROUTE.replace('"${OUT}"', '"${OUT}", key: k'), id="a needless key to send with"),
        pytest.param(ROUTE.replace('"${OUT}"', '"${OUT}", recipe: other'), id="another recipe"),
        pytest.param(ROUTE.replace('[{secret: "${IN:-inward}"}]', '"${IN}"'), id="a secret for a credential"),
        pytest.param(ROUTE.replace('{secret: "${OUT}"}', '"${OUT}"'), id="a secret for a credential to send with"),
        pytest.param(ROUTE.replace('{secret: "${OUT}"}', '{secret: ["${OUT}"]}'), id="a list of secrets"),
        pytest.param(ROUTE.replace("10.0.0.0/8", '"${IN}"'), id="a secret for a network"),
        pytest.param(ROUTE.replace("from:", 'public_url: "${IN}", from:'), id="a secret for a URL"),
        pytest.param(ROUTE.replace("from:", 'max_body_bytes: "${IN}", from:'), id="a secret for a number"),
        pytest.param(ROUTE.replace("${OUT}", "hush, hush"), id="written out"),
    ],
)
def test_no_message_shows_a_secret(tmp_path: Path, text: str):
    specs, found = loaded(tmp_path, {"a.yaml": f"{text}---\n{ACME}---\n{SESSION}"}, {"OUT": "hush", "IN": "hush"})

    assert found
    assert "hush" not in " ".join(found) + repr(specs)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('provider: "${X}"', "no provider is named '${X}'"),
        ('provider: acme, verify: ["${X}"]', "the provider has no recipe '${X}'"),
        ('provider: acme, rules: {metric: {pattern: "a${X}"}}', "'a${X}' is not a valid pattern"),
        ('provider: acme, rules: {attributes: {keys: "${X}"}}', "'${X}' is not a valid pattern"),
        (
            'provider: acme, rules: {unit: {fix: "${X}"}}',
            "'${X}' is not a valid expression once its variables are replaced",
        ),
    ],
    ids=["provider", "recipe", "pattern", "keys", "expression"],
)
def test_message_shows_a_variable_and_not_its_value(tmp_path: Path, written: str, said: str):
    files = {"a.yaml": ALL.replace("provider: acme", written, 1)}

    _, found = loaded(tmp_path, files, {"OUT": "outward", "X": "(?P<hush-x>a"})

    assert len(found) == 1
    assert said in found[0]
    assert "hush" not in found[0]


def test_recipe_that_signs_with_rsa_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    signature = '{kind: signature, of: "{body}", rsa: pkcs1-sha256, as: base64}'
    recipe = SESSION.replace("{session: {kind: secret}}", f"{{key: {{kind: key}}, session: {signature}}}")
    recipe += '  - {header: x-key, value: "{key}"}\n'
    recipe = recipe.replace("carry: [{header: authorization", "carry:\n  - {header: authorization").replace("}]", "}")
    route = ROUTE.replace("secret:", "key: k, secret:")
    monkeypatch.setattr("gateway.specs.schema.target.find_spec", lambda _: None)

    _, found = loaded(tmp_path, {"a.yaml": f"{route}---\n{ACME}---\n{recipe}"}, {"OUT": "outward"})

    what = "acme-session signs with RSA, and the package for that is not installed; pip install 'metric-gateway[rsa]'"
    assert found == [f"a.yaml:3:18: send.provider: {what}"]


@pytest.mark.parametrize(
    ("carrier", "caps"),
    [
        pytest.param('header: authorization, value: "{session}"', DEFAULT_CAPS, id="header"),
        pytest.param('query: session, value: "{session}"', DEFAULT_CAPS, id="query"),
        pytest.param('json: session, value: "{session}"', Caps(1_048_576), id="json"),
        pytest.param('param: session, value: "{session}"', Caps(1_048_576), id="param"),
    ],
)
def test_body_read_before_verification_inflates_up_to_the_wire_limit(tmp_path: Path, carrier: str, caps: Caps):
    files = {"a.yaml": ALL.replace('header: authorization, value: "{session}"', carrier)}

    specs, _ = loaded(tmp_path, files, {"OUT": "outward"})

    assert specs.routes["a"].source.caps == caps


@pytest.mark.parametrize(
    ("kind", "warned"),
    [
        pytest.param("form", False, id="form"),
        pytest.param("json", True, id="json"),
        pytest.param("text", True, id="text"),
    ],
)
def test_scheme_that_signs_fields_of_a_form_leaves_any_other_body_open(tmp_path: Path, kind: str, warned: bool):
    acme = ACME.replace("body: json", f"body: {kind}").replace("acme-session", "aliyun-rpc-v1")
    route = ROUTE.replace(", from: [10.0.0.0/8]", "").replace("{secret:", "{key: k, secret:")

    _, found = loaded(tmp_path, {"a.yaml": f"{route}---\n{acme}"}, {"OUT": "outward"})

    said = f"aliyun-rpc-v1 does not sign {kind} body, which the provider reads"
    assert [said in message for message in found if "does not sign" in message] == [True] * warned


def test_missing_folder_is_an_os_error(tmp_path: Path):
    with pytest.raises(NotADirectoryError):
        load(tmp_path / "nowhere", {})


def test_broken_recipe_is_reported_once(tmp_path: Path):
    text = f"{ROUTE}---\n{ACME}---\n{SESSION.replace('{session}', '{sesion}')}"

    specs, found = loaded(tmp_path, {"a.yaml": text}, {"OUT": "outward"})

    assert found
    assert all("a.yaml:1" in line for line in found)
    assert specs.routes == {}


@pytest.mark.parametrize("broken", ["provider: acme\nreceive: [", "providr: acme", "provider: acme\nreceiv: {}"])
def test_broken_provider_is_reported_once_and_other_routes_are_checked(tmp_path: Path, broken: str):
    other = (
        ROUTE.replace("route: a", "route: b").replace("provider: acme", "provider: zstack").replace("10.0.0.0/8", "x")
    )

    specs, found = loaded(tmp_path, {"p.yaml": broken, "a.yaml": ROUTE, "b.yaml": other}, {"OUT": "outward"})

    assert {line.partition(":")[0] for line in found} == {"b.yaml", "p.yaml"}
    assert specs.routes == {}


def test_case_of_a_route_sees_only_its_environment(tmp_path: Path):
    cases = "cases: [{case: one, env: {OUT: of-the-case}}]"

    files = {"a.yaml": ROUTE + cases, "b.yaml": f"{ACME}---\n{SESSION}"}
    specs, _ = loaded(tmp_path, files, {"OUT": "outside"}, trials=True)

    (trial,) = (trial for trial in specs.trials if trial.owner == "a")
    assert [secret.reveal() for secret in trial.route.secrets] == ["inward", "of-the-case"]
    assert [secret.reveal() for secret in specs.routes["a"].secrets] == ["inward", "outside"]


RELAYS = """
provider: old
relay: true
receive: {request: {method: GET, path: "/old/{room}"}, verify: [acme-session]}
---
provider: new
relay: true
needs: [room]
send: {url: "http://new.example", request: {method: GET, path: "/new/{given.room}"}, sign: acme-session}
---
route: old-to-new
receive: {provider: old, credentials: [{secret: inward}], from: [10.0.0.0/8]}
send: {provider: new, credential: {secret: outward}}
cases: [{case: one, request: {path: /old/cellar}, sends: [{path: /new/cellar}]}]
"""


def test_captured_values_of_a_relay_satisfy_needs(tmp_path: Path):
    specs, found = loaded(tmp_path, {"a.yaml": f"{SESSION}---{RELAYS}"}, trials=True)

    [trial] = [trial for trial in specs.trials if trial.owner == "old-to-new"]
    assert (found, run_case(trial.case, trial.route)) == ([], [])
