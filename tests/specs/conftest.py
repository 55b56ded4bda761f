"""Each of these tests loads the shipped specs: their files are read as YAML once."""

from functools import cache

import pytest

from gateway.specs.diagnostic import Diagnostics
from gateway.specs.nodes import Node
from gateway.specs.yaml_reader import parse


@cache
def parsed_shipped(text: bytes, file: str) -> list[Node]:
    diagnostics = Diagnostics()
    nodes = parse(text, file, diagnostics)
    assert not list(diagnostics)
    return nodes


@pytest.fixture(autouse=True)
def shipped_specs_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(text: bytes, file: str, diagnostics: Diagnostics) -> list[Node]:
        is_shipped = file.startswith("gateway/")
        return parsed_shipped(text, file) if is_shipped else parse(text, file, diagnostics)

    monkeypatch.setattr("gateway.specs.load.parse", parsed)
