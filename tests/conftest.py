"""What every test may use: the marker `needs`."""

import os
import shutil

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are missing; where all tests are required, as in CI, fail it."""
    wanted = [tool for marker in item.iter_markers("needs") for tool in marker.args]
    missing = [tool for tool in wanted if shutil.which(tool) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}"
    if os.environ.get("GATEWAY_TESTS_REQUIRE") == "all":
        pytest.fail(f"{reason}, and GATEWAY_TESTS_REQUIRE=all", pytrace=False)
    pytest.skip(reason)
