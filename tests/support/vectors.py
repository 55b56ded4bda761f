"""The vectors of tests/data/vectors as requests. They were made by the vendors' own programs, see the NOTICE there."""

import json
from pathlib import Path
from typing import Any

from gateway.core.http.request import Request

FOLDER = Path(__file__).parents[1] / "data/vectors"


def read_vectors(file: str) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    return vectors


def request_of(case: dict[str, Any]) -> Request:
    parts = case["request"]
    headers = tuple((name, value) for name, value in parts["headers"])
    return Request(parts["method"], parts["target"], headers, parts["body_utf8"].encode(), parts["scheme"])
