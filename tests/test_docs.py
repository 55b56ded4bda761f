"""The documentation is complete, and what it shows works."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.cli import COMMANDS, GROUPS
from gateway.commands.coverage import coverage
from gateway.commands.matrix import matrix
from gateway.core.expression.functions import FUNCTIONS
from gateway.core.recipe.filters import FILTERS
from gateway.core.vendor.routing import Snapshot
from gateway.delivery.limits import Limiter
from gateway.proof.vectors import run_vector
from gateway.specs.load import load
from gateway.specs.schema import model_types, models, recipe_models
from gateway.telemetry import Telemetry
from gateway.web.admin.endpoints import Running, endpoints

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs/reference.md").read_text()
README = (ROOT / "README.md").read_text()
OPERATING = (ROOT / "docs/operating.md").read_text()
TABLE = endpoints(
    Running(snapshot=Snapshot, telemetry=Telemetry(), rejected=list, targets=Limiter(), reloads=object())  # never asked
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def spec_keys() -> list[str]:
    values = [value for module in (models, recipe_models, model_types) for value in vars(module).values()]
    specs = [each for each in values if isinstance(each, type) and issubclass(each, BaseModel)]
    return sorted({field.alias or name for spec in specs for name, field in spec.model_fields.items()})


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def yaml_blocks() -> list[tuple[str, str]]:
    found = [(page.name, block) for page in PAGES for block in blocks(page, "yaml")]
    return [(f"{name}-{number}", block) for number, (name, block) in enumerate(found)]


@pytest.mark.parametrize("key", spec_keys())
def test_every_key_of_a_spec_stands_in_the_reference(key: str) -> None:
    assert re.search(rf"`[^`]*\b{re.escape(key)}\b[^`]*`", REFERENCE)


@pytest.mark.parametrize("word", sorted(FUNCTIONS) + sorted(FILTERS))
def test_every_function_and_filter_stands_in_the_reference(word: str) -> None:
    assert re.search(rf"\b{re.escape(word)}\b", REFERENCE)


@pytest.mark.parametrize("metric", [family.name for family in Telemetry().registry.collect()])
def test_every_metric_stands_in_the_page_on_operating(metric: str) -> None:
    assert re.search(rf"`{metric}(_total)?` \|", OPERATING)


@pytest.mark.parametrize("path", ["GET /api", *(f"{each.method} {each.path}" for each in TABLE)])
def test_every_path_of_the_admin_api_stands_in_the_page_on_operating(path: str) -> None:
    assert f"`{path}` |" in OPERATING


@pytest.mark.parametrize("command", sorted([*COMMANDS, *GROUPS]))
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert f"`gateway {command}" in README


@pytest.mark.parametrize(("name", "block"), yaml_blocks(), ids=lambda value: value if len(value) < 40 else "")
def test_every_yaml_block_of_the_documentation_loads(name: str, block: str, tmp_path: Path) -> None:
    (tmp_path / "block.yaml").write_text(block)

    specs = load(tmp_path, {}, strict_environment=False)

    assert [str(diagnostic) for diagnostic in specs.diagnostics if diagnostic.severity == "error"] == []


def test_the_recipe_of_the_walk_through_is_short_and_passes_its_vectors(tmp_path: Path) -> None:
    page = ROOT / "docs/adding-a-recipe.md"
    (recipe,) = blocks(page, "yaml")
    (vectors,) = [block for block in blocks(page, "text") if block.startswith("vectors:")]
    (tmp_path / "recipe.yaml").write_text(recipe + vectors)

    specs = load(tmp_path, {})

    own = [(recipe, vector) for recipe, vector, _ in specs.vectors if recipe.name == "baidu-bce"]
    assert len(recipe.splitlines()) <= 15
    assert [run_vector(recipe, vector) for recipe, vector in own] == [[], []]


@pytest.mark.parametrize("step", ["slots", "carry", "steps"])
def test_the_parts_of_the_walk_through_are_those_of_its_recipe(step: str) -> None:
    page = ROOT / "docs/adding-a-recipe.md"
    part = next(block for block in blocks(page, "text") if block.startswith(f"{step}:"))

    assert part in blocks(page, "yaml")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_on_coverage_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cryptography")

    coverage(None)

    assert (ROOT / "docs/coverage.md").read_text().endswith("\n\n" + capsys.readouterr().out)


def test_the_page_on_losses_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    matrix()

    assert (ROOT / "docs/matrix.md").read_text().endswith("\n\n" + capsys.readouterr().out)
