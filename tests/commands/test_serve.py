"""gateway serve: what it refuses to start with. How it runs and ends: tests/test_processes.py."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from gateway.commands.arguments.options import read_admin_token
from gateway.delivery.queue import Store
from tests.support.caller import exchange
from tests.support.processes import Command, command
from tests.support.requests import ENVIRON
from tests.support.terminal import run


@pytest.fixture(autouse=True)
def variables(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--listen", "here"], 2, "--listen: 'here' is not an address; write host:port, like "),
        (["--admin", ":x"], 2, "--admin: ':x' is not an address; write host:port, like "),
        (["--admin-token", ""], 2, "--admin-token is empty"),
        (["--admin-token", "env:NOPE"], 1, "--admin-token: the environment variable 'NOPE' is not set"),
        (["--admin-token", "file:/nope"], 1, "--admin-token: /nope cannot be read: no such file or directory"),
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
        warning = await gateway.event("no_route_loaded")
        gateway.signal(signal.SIGTERM)
        code, _ = await gateway.end()

    assert (code, warning["folder"]) == (0, str(tmp_path))


# To the gateway this is some host; to the system it is loopback.
ABROAD = "127.1:0"


def serve_abroad(*options: str, **environ: str) -> AbstractAsyncContextManager[Command]:
    addresses = ("--listen", "127.0.0.1:0", "--admin", ABROAD)
    return command("serve", "--routes", "routes.d", *addresses, *options, environ=ENVIRON | environ)


async def ask(gateway: Command, *headers: str) -> int:
    """Return the status of an answer of the admin API."""
    head = "\r\n".join(["GET /api/routes HTTP/1.1", "Host: gateway.example", *headers, "", ""])
    return (await exchange((await gateway.event("listening"))["admin"], head.encode())).status


async def test_admin_api_off_loopback_is_closed_without_a_token() -> None:
    async with serve_abroad() as gateway:
        status = await ask(gateway)
        warning = await gateway.event("admin_api_closed")

    assert (status, warning["level"]) == (403, "warning")


@pytest.mark.parametrize(
    ("text", "environ", "warned"),
    [
        ("env:OURS", {"OURS": "hush"}, False),
        ("hush", {}, True),
        ("hush", {"GATEWAY_ADMIN_TOKEN": "hush"}, False),
        ("env:OURS", {"GATEWAY_ADMIN_TOKEN": "env:OURS", "OURS": "hush"}, False),
    ],
    ids=["named", "bare", "of the environment", "named in the environment"],
)
def test_only_a_bare_token_on_the_command_line_warns(
    text: str,
    environ: dict[str, str],
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    token = read_admin_token(text)

    errors = capsys.readouterr().err
    assert token.reveal() == "hush"
    assert ("warning: a bare --admin-token" in errors) is warned
    assert "hush" not in errors


async def test_a_token_opens_the_admin_api() -> None:
    async with serve_abroad(GATEWAY_ADMIN_TOKEN="hush") as gateway:
        status = await ask(gateway, "Authorization: Bearer hush")

    assert status == 200
    assert "hush" not in "".join(gateway.log)


QUEUED = Path("routes.d/zstack-to-tencent.yaml").read_text().partition("cases:")[0].replace("direct", "queued")
WANTS_A_FOLDER = (
    "queued routes need a persistent folder: start serve with --data DIR (or GATEWAY_DATA): zstack-to-tencent"
)


def test_a_queued_route_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(QUEUED)

    ended = run("serve", "--routes", tmp_path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")

    assert (ended.code, ended.errors.splitlines()[-1]) == (1, f"gateway: {WANTS_A_FOLDER}")


async def test_reload_of_a_queued_route_fails_without_a_folder(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(QUEUED.replace("queued", "direct"))
    addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    async with command("serve", "--routes", str(tmp_path), *addresses, environ=ENVIRON) as gateway:
        await gateway.event("listening")
        (tmp_path / "route.yaml").write_text(QUEUED)
        [problem] = [each for each in (await gateway.event("reload_failed"))["problems"] if "warning" not in each]

    assert problem.endswith(WANTS_A_FOLDER)


async def test_a_folder_that_another_gateway_holds_is_one_line(tmp_path: Path) -> None:
    addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    holder = await Store.open(tmp_path)

    ended = await asyncio.to_thread(run, "serve", "--routes", tmp_path, *addresses, "--data", tmp_path)
    await holder.close()

    assert ended.code == 1
    assert f"gateway: --data: {tmp_path}: another gateway holds this data folder (process " in ended.complaint


async def test_a_target_named_on_the_command_line_stays_over_a_reload(tmp_path: Path) -> None:
    route = Path("routes.d/zstack-to-tencent.yaml").read_text().partition("cases:")[0]
    (tmp_path / "route.yaml").write_text(route)
    target = ("--target", "zstack-to-tencent=http://127.0.0.1:1")
    addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    async with command("serve", "--routes", str(tmp_path), *addresses, *target, environ=ENVIRON) as gateway:
        admin = (await gateway.event("listening"))["admin"]
        gateway.signal(signal.SIGHUP)
        await gateway.event("reloaded")
        listed = await exchange(admin, b"GET /api/routes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        (tmp_path / "route.yaml").write_text(route.replace("route: zstack-to-tencent", "route: another"))
        problem = (await gateway.event("reload_failed"))["problems"][0]

    assert listed.json["routes"][0]["host"] == "127.0.0.1:1"
    assert "--target: no route is named 'zstack-to-tencent'; known: another" in problem
