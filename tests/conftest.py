"""What every test may use: the markers `needs` and `needs_package`, and processes that start fast."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Let the processes that tests start share what one of them has compiled, wherever they may write it else."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="gateway-compiled-") as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        yield
        os.environ.clear()
        os.environ.update(before)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs or packages are missing. Where all tests are required, as in CI, fail it."""
    tools = [tool for marker in item.iter_markers("needs") for tool in marker.args]
    packages = [name for marker in item.iter_markers("needs_package") for name in marker.args]
    missing = [tool for tool in tools if shutil.which(tool) is None]
    missing += [f"the package {name}" for name in packages if find_spec(name) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}"
    if os.environ.get("GATEWAY_TESTS_REQUIRE") == "all":
        pytest.fail(f"{reason}, and GATEWAY_TESTS_REQUIRE=all", pytrace=False)
    pytest.skip(reason)
