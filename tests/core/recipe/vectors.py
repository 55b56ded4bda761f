"""Reads the vectors in tests/data."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.core.http.request import Request, Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.specs.load import load

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
RECIPES = load(None, {}).recipes


def document(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / "vectors" / name).read_text())
    return content


def read_request(parts: Mapping[str, Any]) -> Request:
    headers = tuple((name, _as_received(value)) for name, value in parts["headers"])
    return Request(parts["method"], parts["target"], headers, parts["body_utf8"].encode(), parts["scheme"])


def _as_received(value: str) -> str:
    """The vectors have header values decoded as latin-1; the gateway decodes UTF-8."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def secret(text: str, key: str | None = None) -> Credential:
    return Credential(Secret(text), key)


def altered(name: str, *, slots: Mapping[str, Any] | None = None, steps: Mapping[str, Any] | None = None) -> Recipe:
    """Return a shipped recipe with some keys changed."""
    content = yaml.safe_load((ROOT / "gateway" / "recipes" / f"{name}.yaml").read_text())
    for slot, keys in (slots or {}).items():
        content["slots"][slot] |= keys
    content["steps"] |= steps or {}
    content.pop("vectors", None)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recipe.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        specs = load(Path(folder), {})
    assert not specs.diagnostics.has_errors, list(map(str, specs.diagnostics))
    return specs.recipes[name]
