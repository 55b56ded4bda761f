"""The scripts of .ci, as far as they can be tried without building a system."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("require", "code"), [("", 0), ("all", 1)], ids=["skipped", "required"])
def test_bare_machine_check_names_missing_programs(require: str, code: int) -> None:
    environ = {"PATH": "/usr/bin:/bin", "GATEWAY_TESTS_REQUIRE": require}  # debootstrap is in /usr/sbin

    ended = subprocess.run([ROOT / ".ci/bare-debian"], env=environ, capture_output=True, text=True, timeout=20)

    lacks = "debootstrap" if os.getuid() == 0 else "root"
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr == f"the tests on a bare trixie are skipped: they need {lacks}\n"
