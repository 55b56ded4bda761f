"""The wheel: built by the backend that pyproject.toml names, unpacked elsewhere, and run from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.caller import exchange
from tests.support.gateway import ENVIRON, ROUTES, raw_report, says
from tests.support.processes import ROOT, command
from tests.support.upstream import Upstream

BUILD = "import setuptools.build_meta as backend, sys; print(backend.build_wheel(sys.argv[1]))"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "gateway")
# -S leaves the editable installation out, which would lead back here.
PYTHON = (sys.executable, "-S")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: the backend writes into the folder that it builds."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    made = subprocess.run([sys.executable, "-c", BUILD, str(built)], cwd=source, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return built / made.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def environ(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Install the wheel as `pip install --no-deps --target` does, and return what makes Python find it."""
    target = tmp_path_factory.mktemp("target")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return {"PYTHONPATH": os.pathsep.join([str(target), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])}


def test_the_wheel_holds_the_package_and_its_specs_and_nothing_else(wheel: Path) -> None:
    inside = {str(path.relative_to(ROOT)) for kind in ("py", "yaml") for path in ROOT.glob(f"gateway/**/*.{kind}")}

    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert names == inside


def test_the_wheel_states_its_licence_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.partition(".dist-info/")[2]: archive.read(name).decode() for name in archive.namelist()}

    assert "\nLicense-Expression: Apache-2.0\n" in texts["METADATA"]
    assert "gateway = gateway.__main__:main" in texts["entry_points.txt"]
    assert texts["licenses/LICENSE"] == (ROOT / "LICENSE").read_text()


async def test_the_installed_wheel_checks_its_own_specs(tmp_path: Path, environ: Mapping[str, str]) -> None:
    async with command("check", ".", environ=environ, python=PYTHON, cwd=tmp_path) as check:
        code, output = await check.end()

    shipped = [len(list(ROOT.glob(f"gateway/{kind}/*.yaml"))) for kind in ("recipes", "providers")]
    counts = re.match(
        r"(\d+) recipes, (\d+) providers, 0 routes, \d+ of \d+ vectors passed, \d+ of \d+ cases passed, "
        "0 errors",
        output,
    )
    assert (code, bool(counts)) == (0, True), (output, check.log)
    assert [int(number) for number in counts.groups()[:2]] == shipped


async def test_the_installed_wheel_serves(tmp_path: Path, environ: Mapping[str, str]) -> None:
    shutil.copytree(ROUTES, tmp_path / "routes.d")
    addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    async with Upstream(says(0)) as upstream:
        variables = {**environ, **ENVIRON, "TENCENT_URL": upstream.url}
        async with command("serve", *addresses, environ=variables, python=PYTHON, cwd=tmp_path) as gateway:
            reply = await exchange((await gateway.event("listening"))["address"], raw_report())

    assert (reply.status, reply.body) == (200, b"{}")
    assert len(upstream.received) == 1
