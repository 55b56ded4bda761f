"""An empty secret is an error when a spec is loaded, not when a signature is checked with it."""

from pathlib import Path

import pytest

from gateway.specs.load import load

ROUTE = """\
route: here
receive: {provider: tencent-receiver, credentials: [{key: k, secret: RECEIVE}]}
send: {provider: tencent-receiver, url: "http://127.0.0.1:9", credential: {key: k, secret: SEND}, given: {region: r}}
delivery: {mode: direct}
"""
RECIPE = """\
recipe: mine
slots:
  key: {kind: key}
  signature: {kind: signature, of: "{key}", hmac: sha256, key: "", as: hex}
carry:
  - {header: x-key, value: "{key}"}
  - {header: x-signature, value: "{signature}"}
"""


def findings(folder: Path, text: str, **environ: str) -> list[str]:
    (folder / "spec.yaml").write_text(text)
    return [str(each) for each in load(folder, environ).diagnostics]


def test_secret_causes_no_finding(tmp_path: Path) -> None:
    found = findings(tmp_path, ROUTE.replace("RECEIVE", "first").replace("SEND", "second"))

    assert not any(".secret: " in each for each in found)


@pytest.mark.parametrize(
    ("receive", "send", "place"),
    [
        ('""', "s", "receive.credentials[0].secret"),
        ("s", '""', "send.credential.secret"),
        ("null", "s", "receive.credentials[0].secret"),
        ('"${EMPTY}"', "s", "receive.credentials[0].secret"),
        ('"${UNSET:-}"', "s", "receive.credentials[0].secret"),
    ],
)
def test_empty_secret_is_an_error_at_its_place(tmp_path: Path, receive: str, send: str, place: str) -> None:
    found = findings(tmp_path, ROUTE.replace("RECEIVE", receive).replace("SEND", send), EMPTY="")

    assert any(f" {place}: " in each and each.endswith("must not be empty") for each in found), found


def test_empty_hmac_key_is_an_error(tmp_path: Path) -> None:
    found = findings(tmp_path, RECIPE)

    assert any("slots.signature.key: the HMAC key is empty" in each for each in found), found
