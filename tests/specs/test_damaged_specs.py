"""A damaged spec gives diagnostics and never an exception."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.specs.load import load

ROOT = Path(__file__).parents[2]
SPECS = [path for folder in ("gateway/providers", "gateway/recipes", "routes.d") for path in (ROOT / folder).iterdir()]
VALUES: list[Any] = [None, True, -1, 1.5, "", "x", "{a", "{x}", [], {}, ["x"], {"a": {"b": [1]}}, [[]], "[a", "none"]
CHANGES = 6


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each list or map with each of its keys."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def damaged(document: Any, chance: random.Random) -> Any:
    changed = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        part, key = chance.choice(list(places(changed)))
        if isinstance(part, dict) and chance.random() < 0.4:
            part.pop(key)
        else:
            part[key] = copy.deepcopy(chance.choice(VALUES))
    return changed


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_damaged_spec_raises_no_exception(path: Path, tmp_path: Path) -> None:
    chance = random.Random(path.stem)
    for document in yaml.safe_load_all(path.read_text()):
        document.pop("cases", None)
        for _ in range(CHANGES):
            (tmp_path / "spec.yaml").write_text(yaml.safe_dump(damaged(document, chance), sort_keys=False))

            load(tmp_path, {}, strict_environment=False)
