"""What vendors' own SDKs need as clients: the marker `needs_package`, and no proxy between them and us."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the SDKs warn as they like: of old ways to read the clock, of sockets that they leave open."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose SDK is missing; where all tests are required, as in CI, fail it."""
    wanted = [name for marker in item.iter_markers("needs_package") for name in marker.args]
    missing = [name for name in wanted if find_spec(name) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}: pip install -e '.[sdk-tests]'"
    if os.environ.get("GATEWAY_TESTS_REQUIRE") == "all":
        pytest.fail(f"{reason}; GATEWAY_TESTS_REQUIRE=all", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all of the SDKs heed NO_PROXY."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
