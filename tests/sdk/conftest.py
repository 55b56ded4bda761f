"""What vendors' own SDKs need as clients: no proxy between them and us, and no failure because of their warnings."""

from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the SDKs warn as they like: of old ways to read the clock, of sockets that they leave open."""
    for item in items:
        if str(item.path).startswith(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all of the SDKs heed NO_PROXY."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
