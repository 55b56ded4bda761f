"""What the tests of commands start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.requests import ENVIRON, GET, POST, REPORT, raw


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests, and the secrets of the samples."""
    for name in ("GATEWAY_ROUTES", "GATEWAY_LISTEN", "GATEWAY_ADMIN", *ENVIRON, "TENCENT_URL", "TENCENT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POST_KEY", POST["credentials"]["secret_key"])
    monkeypatch.setenv("GET_KEY", GET["credentials"]["secret_key"])
    monkeypatch.setenv("EMPTY", "")


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo the logging setup of a command, which normally ends with its process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def report_file(tmp_path: Path) -> Path:
    return written(tmp_path / "report.http", REPORT)


@pytest.fixture
def post_file(tmp_path: Path) -> Path:
    return written(tmp_path / "post.http", raw(POST))


@pytest.fixture
def get_file(tmp_path: Path) -> Path:
    return written(tmp_path / "get.http", raw(GET))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
