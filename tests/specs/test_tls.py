"""A target's TLS, from its YAML: where files are looked for, when they are errors, what of them is shown."""

from pathlib import Path

import pytest

from gateway.core.vendor.route import Target
from gateway.files import fingerprint
from gateway.specs.load import Specs, load
from gateway.tls import target_context
from tests.support.certificates import Authority

ROUTE = """\
route: a
receive: {provider: zstack, credentials: [{secret: s3cret}], from: [10.0.0.0/8]}
send:
  provider: tencent-receiver
  url: "${URL:-https://b.example}"
  credential: {key: k, secret: s3cret}
  given: {region: sh}
  tls: TLS
points: {allow_loss: [time_ns]}
cases:
- case: one
  env: {URL: "http://b.example"}
  points: [{metric: m, value: 1, attributes: {a: b}, namespace: n}]
  sends: [{method: POST}]
"""


def loaded(folder: Path, tls: str, *, strict: bool = True, trials: bool = False, **environ: str) -> Specs:
    (folder / "below").mkdir(exist_ok=True)
    (folder / "below" / "route.yaml").write_text(ROUTE.replace("TLS", tls))
    return load(folder, environ, strict_environment=strict, trials=trials)


def target(specs: Specs) -> Target:
    assert [str(found) for found in specs.diagnostics] == []
    return specs.routes["a"].target


def said(specs: Specs) -> list[str]:
    return [str(found).partition("route.yaml:")[2] for found in specs.diagnostics]


def test_paths_are_relative_to_the_file_of_the_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Authority(tmp_path, "ca").issue("client")
    monkeypatch.chdir("/")

    specs = loaded(tmp_path, "{ca: ../ca.pem, cert: ../client.crt, key: ../client.key}")

    assert target(specs).tls is not None


def test_paths_may_be_absolute_and_come_from_variables(tmp_path: Path):
    file = Authority(tmp_path, "ca").file

    assert target(loaded(tmp_path, '{ca: "${CA}"}', CA=str(file))).tls is not None


def test_without_tls_the_system_is_trusted(tmp_path: Path):
    assert target(loaded(tmp_path, "null")).tls is None


@pytest.mark.parametrize(
    ("tls", "url", "message"),
    [
        ("{ca: ca.pem}", "https://b", "8:13: {}send.tls.ca: 'ca.pem' cannot be read: no such file or directory"),
        ("{ca: x}", "http://b", "8:8: {}send.tls: calls to a URL of http:// are never encrypted; write https://"),
    ],
    ids=["no file", "no https"],
)
@pytest.mark.parametrize("strict", [True, False], ids=["serve", "check"])
def test_unusable_file_is_an_error_or_a_warning(tmp_path: Path, tls: str, url: str, message: str, strict: bool):
    specs = loaded(tmp_path, tls, strict=strict, URL=url)

    assert said(specs) == [message.format("" if strict else "warning: ")]
    assert list(specs.routes) == ([] if strict else ["a"])


def test_cases_run_without_the_files(tmp_path: Path):
    specs = loaded(tmp_path, "{ca: ca.pem}", strict=False, trials=True)

    assert [trial.case.name for trial in specs.trials if trial.owner == "a"] == ["one"]


def test_value_of_a_variable_is_not_shown(tmp_path: Path):
    cert, key = Authority(tmp_path).issue("client")

    specs = loaded(tmp_path, '{cert: "${CERT}", key: "${KEY}"}', CERT=str(cert), KEY=key.read_text())

    assert said(specs) == ["8:31: send.tls.key: '${KEY}' cannot be read: no such file or directory"]


def test_unchanged_files_keep_their_context_across_a_reload(tmp_path: Path):
    Authority(tmp_path, "ca")

    first, second = (target_context(target(loaded(tmp_path, "{ca: ../ca.pem}")).tls) for _ in range(2))
    Authority(tmp_path, "ca")
    third = target_context(target(loaded(tmp_path, "{ca: ../ca.pem}")).tls)

    assert first is second
    assert first is not third


def test_files_of_a_route_are_watched(tmp_path: Path):
    authority = Authority(tmp_path, "ca")

    specs = loaded(tmp_path, "{ca: ../ca.pem, cert: ../none}")

    assert [file.name for file in specs.files] == ["route.yaml", "ca.pem", "none"]
    assert specs.files[tmp_path / "below" / ".." / "ca.pem"] == fingerprint(authority.file)
    assert specs.files[tmp_path / "below" / ".." / "none"] is None
