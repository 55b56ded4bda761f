"""The walk-throughs of the documentation, followed literally."""

import json
import re
import shlex
import time
from pathlib import Path

from gateway.proof.cases.run import run_case
from gateway.specs.load import load
from tests.support.processes import ROOT, command

PAGE = (ROOT / "docs/adding-a-provider.md").read_text()
PROVIDER = re.search(r"```yaml\n(.*?)```", PAGE, re.S)
CASES = re.search(r"```text\n(cases:.*?)```", PAGE, re.S)
ROUTE = re.search(r"```text\n(route:.*?)```", PAGE, re.S)
COMMANDS = [
    shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.strip().splitlines()
]
SECRET = {"CES_SECRET": "made-up-secret"}


def folder(at: Path, *more: re.Match[str] | None) -> Path:
    routes = at / "routes.d"
    routes.mkdir()
    documents = [match[1] for match in (PROVIDER, *more) if match]
    (routes / "huawei-ces.yaml").write_text("".join(documents))
    return routes


def words(*begin: str) -> list[str]:
    """Return the words of the page's command that begins so, without the program's name."""
    return next(words[1:] for words in COMMANDS if words[: len(begin)] == list(begin))


def test_provider_is_under_forty_lines_and_its_cases_pass(tmp_path: Path) -> None:
    specs = load(folder(tmp_path, CASES), {}, trials=True)
    own = [trial for trial in specs.trials if trial.owner == "huawei-ces"]

    assert PROVIDER is not None and len(PROVIDER[1].splitlines()) < 40
    assert len(own) == 3
    assert [run_case(trial.case, trial.route) for trial in own] == [[]] * len(own)


def test_route_joins_it_with_another_provider(tmp_path: Path) -> None:
    routes = folder(tmp_path)
    (routes / "route.yaml").write_text(ROUTE[1] if ROUTE else "")

    specs = load(routes, SECRET | {"ZSTACK_SESSION": "a" * 32, "CES_KEY": "k"})

    assert list(map(str, specs.diagnostics)) == []
    assert specs.routes["zstack-to-ces"].target.provider.name == "huawei-ces"


async def test_check_finds_nothing_wrong(tmp_path: Path) -> None:
    folder(tmp_path)

    async with command(*words("gateway", "check"), cwd=tmp_path) as check:
        code, output = await check.end()

    assert code == 0
    assert output.endswith(" 0 errors, 0 warnings\n")


async def test_provider_works_in_both_roles(tmp_path: Path) -> None:
    folder(tmp_path)
    text, _, file = words("echo")
    (tmp_path / file).write_text(text)
    vendor = [word.replace(":9000", ":0") for word in words("gateway", "sink")]

    async with command(*vendor, cwd=tmp_path, environ=SECRET) as sink:
        address = (await sink.event("listening"))["address"]
        reporter = [word.replace("127.0.0.1:9000", address) for word in words("gateway", "report")]
        async with command(*reporter, cwd=tmp_path, environ=SECRET) as report:
            told = await report.end()
        arrived = json.loads(await sink.line())
        async with command(*reporter, cwd=tmp_path, environ={"CES_SECRET": "another"}) as report:
            refused = await report.end()

    assert told == (0, "OK: 1 data point\n")
    assert arrived.items() >= json.loads(text).items()
    assert abs(arrived["time_ns"] - time.time_ns()) < 60_000_000_000
    assert refused == (1, "UNAVAILABLE UPSTREAM_AUTH: the signature does not match\n")


async def test_first_route_is_checked_and_served(tmp_path: Path) -> None:
    page = (ROOT / "docs/getting-started.md").read_text()
    (route,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    exports = re.search(r"^export (.*)$", page, re.M)
    environ = dict(word.split("=") for word in shlex.split(exports[1] if exports else ""))
    (tmp_path / "my-routes").mkdir()
    (tmp_path / "my-routes/route.yaml").write_text(route)

    async with command("check", "my-routes", cwd=tmp_path, environ=environ) as check:
        checked = await check.end()
    ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    async with command("serve", "--routes", "my-routes", *ports, cwd=tmp_path, environ=environ) as serve:
        routes = (await serve.event("listening"))["routes"]

    assert checked[0] == 0 and checked[1].endswith(" 0 errors, 0 warnings\n")
    assert routes == ["my-route"]


async def test_route_of_the_readme_is_served() -> None:
    page = (ROOT / "README.md").read_text()
    exports = re.search(r"^export (.*)$", page, re.M)
    environ = dict(word.split("=") for word in shlex.split(exports[1] if exports else ""))
    ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]

    async with command("serve", "--only", "zstack-to-tencent", *ports, environ=environ) as serve:
        routes = (await serve.event("listening"))["routes"]

    assert routes == ["zstack-to-tencent"]
