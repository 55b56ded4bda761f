"""Files named in a configuration cannot block the gateway or be read without end."""

import os
from pathlib import Path

import pytest

from gateway.files import read_regular_file
from gateway.specs.load import load
from gateway.tls import BadPem, Pair, server_context


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_regular_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"12345")

    assert read_regular_file(file, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular_file(file, 4)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "pipe"])
def test_only_regular_files_are_read(pipe: Path, path: str) -> None:
    with pytest.raises(OSError):
        read_regular_file(pipe.parent / path, 5)


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_endless_secret_file_is_an_error(pipe: Path, path: str) -> None:
    file = pipe.parent / path
    folder = pipe.parent / "routes"
    folder.mkdir()
    (folder / "a.yaml").write_text(f'route: a\nreceive: {{credential: {{secret: "${{file:{file}}}"}}}}\n')

    messages = [found.what for found in load(folder, environ={}).diagnostics]

    assert f"cannot read the file {file}" in messages


def test_endless_certificate_file_is_an_error(pipe: Path) -> None:
    with pytest.raises(BadPem, match="cannot be read: it is not a regular file"):
        server_context(Pair(pipe))
