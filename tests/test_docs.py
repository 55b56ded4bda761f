"""The documentation is complete, and what it shows works."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.cli import COMMANDS
from gateway.core.expression.functions import FUNCTIONS
from gateway.core.recipe.filters import FILTERS
from gateway.specs import models
from gateway.specs.load import load

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs/reference.md").read_text()
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def spec_keys() -> list[str]:
    specs = [each for each in vars(models).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    return sorted({field.alias or name for spec in specs for name, field in spec.model_fields.items()})


def yaml_blocks() -> list[tuple[str, str]]:
    found = [(page.name, block) for page in PAGES for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)]
    return [(f"{name}-{number}", block) for number, (name, block) in enumerate(found)]


@pytest.mark.parametrize("key", spec_keys())
def test_every_key_of_a_spec_stands_in_the_reference(key: str) -> None:
    assert re.search(rf"`[^`]*\b{re.escape(key)}\b[^`]*`", REFERENCE)


@pytest.mark.parametrize("word", sorted(FUNCTIONS) + sorted(FILTERS))
def test_every_function_and_filter_stands_in_the_reference(word: str) -> None:
    assert re.search(rf"\b{re.escape(word)}\b", REFERENCE)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert f"`gateway {command}" in README


@pytest.mark.parametrize(("name", "block"), yaml_blocks(), ids=lambda value: value if len(value) < 40 else "")
def test_every_yaml_block_of_the_documentation_loads(name: str, block: str, tmp_path: Path) -> None:
    (tmp_path / "block.yaml").write_text(block)

    specs = load(tmp_path, {}, strict_environment=False)

    assert [str(diagnostic) for diagnostic in specs.diagnostics if diagnostic.severity == "error"] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []
