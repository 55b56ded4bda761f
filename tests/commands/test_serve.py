"""gateway serve: what it refuses to start with. How it runs and ends: tests/test_processes.py."""

import signal
from pathlib import Path

import pytest

from tests.commands.requests import ENVIRON
from tests.processes import command
from tests.terminal import run


@pytest.fixture(autouse=True)
def variables(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--listen", "here"], 2, "--listen: 'here' is not an address; write host:port, like "),
        (["--admin", ":x"], 2, "--admin: ':x' is not an address; write host:port, like "),
        (["--log-level", "loud"], 2, "--log-level: 'loud' is not one of debug, info, warning, error"),
        (["--log-format", "xml"], 2, "--log-format: 'xml' is not one of auto, json, text"),
        (["--grace-s", "nan"], 2, "invalid value for '--grace-s' "),
        (["--drain-delay-s", "-1"], 2, "invalid value for '--drain-delay-s' "),
        (["--only", "nope"], 1, "no route is named 'nope'; known: "),
        (["--target", "x"], 2, "--target: 'x' is not ROUTE=URL"),
        (["--target", "nope=http://h"], 1, "--target: no route is named 'nope'; known: "),
        (
            ["--target", "zstack-to-tencent=h"],
            2,
            "--target: 'h': this is not a URL: write http://HOST[:PORT] or https://HOST[:PORT]",
        ),
        (["--routes", "/nope"], 1, "there is no folder /nope"),
        (["--tls-key", "key.pem"], 2, "--tls-key: its certificate is missing; give --tls-cert too"),
        (["--tls-cert", "/nope"], 1, "--tls-cert: /nope cannot be read: no such file or directory"),
        (["--tls-cert", "README.md"], 1, "--tls-cert: README.md holds no certificate in PEM form"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, said: str) -> None:
    ended = run("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *arguments)

    assert (ended.code, ended.output) == (code, "")
    assert ended.complaint.startswith(f"gateway: {said}")


def test_a_setting_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_LISTEN", "there")

    assert run("serve").complaint.startswith("gateway: --listen: 'there' is not an address")


async def test_a_folder_without_routes_is_served_with_a_warning(tmp_path: Path) -> None:
    arguments = ("serve", "--routes", str(tmp_path), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    async with command(*arguments) as gateway:
        warning = await gateway.event("there is no route")
        gateway.signal(signal.SIGTERM)
        code, _ = await gateway.end()

    assert (code, warning["folder"]) == (0, str(tmp_path))
