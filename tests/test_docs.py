"""The documentation is complete, and what it shows works."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer
import yaml

from gateway.cli import COMMANDS, app
from gateway.commands.matrix import matrix
from gateway.commands.recipes.coverage import coverage
from gateway.core.expression import Compiler
from gateway.core.expression.functions import FUNCTIONS
from gateway.core.outcome.outcome import Code, Reason
from gateway.core.recipe.filters import FILTERS
from gateway.core.vendor.routing import Snapshot
from gateway.proof.cases.run import run_case
from gateway.proof.vectors import run_vector
from gateway.specs.load import load
from gateway.telemetry import Telemetry
from gateway.web.admin.endpoints import endpoints
from gateway.web.admin.queue import QueueApi
from tests.support.processes import ROOT
from tests.support.shipped import REPORTING
from tests.support.terminal import run

README = ROOT / "README.md"
REFERENCE = (ROOT / "docs/reference.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
STARTED = (ROOT / "docs/getting-started.md").read_text()
ENDPOINTS = endpoints(
    snapshot=Snapshot,
    telemetry=Telemetry(),
    rejected=list,
    targets=list,
    queue=QueueApi(),
    reloads=Mock(),  # never called
)
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS]
MAKE = r"(?:^|`)make ([a-z]+)"
LEVELS = {"debug", "info", "warning", "error", "exception"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def numbered(language: str, pages: list[Path] = PAGES) -> list[Any]:
    return [
        pytest.param(block, id=f"{page.name}-{number}")
        for page in pages
        for number, block in enumerate(blocks(page, language), 1)
    ]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def log_events() -> Iterator[str]:
    """Yield the name of each event that a module of the gateway logs; f-strings are left out."""
    for file in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in LEVELS and ast.unparse(node.func.value) in ("log", "structlog.get_logger()"):
                event = node.args[0]
                names = (event.body, event.orelse) if isinstance(event, ast.IfExp) else (event,)
                yield from (name.value for name in names if isinstance(name, ast.Constant))


def serve_options() -> list[Any]:
    group = typer.main.get_command(app)
    options = group.resolve_command(typer.Context(group), ["serve"])[1].params
    return [pytest.param(option, id=option.name) for option in options if option.name != "help"]


def command_lines() -> list[Any]:
    """Return the arguments of each line of a shell block that runs the gateway."""
    shown = [(page.name, block.replace("\\\n", " ")) for page in PAGES for block in blocks(page, "sh")]
    lines = [(name, line) for name, block in shown for line in block.splitlines()]
    found = [(name, match[1]) for name, line in lines if (match := re.fullmatch(r"(?:\.venv/bin/)?gateway (.*)", line))]
    return [pytest.param(shlex.split(rest), id=f"{name}: {rest[:50]}") for name, rest in found]


@pytest.mark.parametrize("word", sorted(FUNCTIONS) + sorted(FILTERS))
def test_every_function_and_filter_is_in_the_reference(word: str) -> None:
    assert re.search(rf"\| [^|]*`[^`]*\b{re.escape(word)}\b[^|]* \| ", REFERENCE)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_in_the_reference_with_its_http_status(code: Code) -> None:
    assert f"| `{code}` | {code.status} | " in REFERENCE


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_in_the_reference_with_its_code(reason: Reason) -> None:
    assert re.search(rf"\| `{reason}` \| `{reason.code}`[^|]* \| \w", REFERENCE)


@pytest.mark.parametrize("name", sorted([*COMMANDS, "queue"]))
def test_every_command_is_in_the_reference(name: str) -> None:
    assert f"| `gateway {name}" in REFERENCE


@pytest.mark.parametrize("metric", [family.name for family in Telemetry().registry.collect()])
def test_every_metric_is_documented(metric: str) -> None:
    assert re.search(rf"`{metric}(_total)?` \|", OPERATIONS)


@pytest.mark.parametrize("path", ["GET /api", *(" ".join(each) for each in ENDPOINTS)])
def test_every_path_of_the_admin_api_is_documented(path: str) -> None:
    assert f"| `{path}` |" in OPERATIONS


@pytest.mark.parametrize("option", serve_options())
def test_every_setting_is_documented_with_its_variable_and_default(option: Any) -> None:
    (row,) = re.findall(rf"^\| `{option.opts[0]}[ `].*", OPERATIONS, re.M)
    default = {None: "", True: "on"}.get(option.default, option.default)

    _, flags, variable, stated, *_ = (cell.strip(" `") for cell in row.split("|"))

    assert all(f"`{flag}" in row for flag in option.secondary_opts), flags
    assert variable == (option.envvar or "")
    assert stated == str(default) or (default == "" and stated in ("none", "all"))


def test_every_log_event_is_documented() -> None:
    documented = set(re.findall(r"`([^`|]+)`", "".join(re.findall(r"^\|([^|]*)", OPERATIONS, re.M))))

    assert sorted(set(log_events()) - documented) == []


def test_every_documented_log_event_and_metric_exists() -> None:
    code = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    table = OPERATIONS[OPERATIONS.index("| event | level |") :].split("\n\n")[0]
    events = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.M)))
    metrics = re.findall(r"^\| `(gateway_\w+?)(?:_total)?` \|", OPERATIONS, re.M)

    assert events and metrics
    assert [name for name in (*events, *metrics) if f'"{name}"' not in code] == []


def test_every_message_that_troubleshooting_quotes_exists() -> None:
    code = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    texts = re.sub(r"\{[^{}]*\}", "…", re.sub(r'"\s*\n\s*f?"', "", code))
    page = re.sub("### TLS to upstreams.*?## ", "", (ROOT / "docs/troubleshooting.md").read_text(), flags=re.S)
    symptoms = re.findall(r"^\|([^|]*)\|", page, re.M)
    quoted = [text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom) if " " in text]
    quoted = [text for text in quoted if not text.startswith("gateway ")]

    assert quoted
    assert [part for text in quoted for part in text.split("…") if part.strip() not in texts] == []


@pytest.mark.parametrize("block", numbered("yaml"))
def test_every_yaml_block_loads(block: str, tmp_path: Path) -> None:
    (tmp_path / "block.yaml").write_text(block)

    specs = load(tmp_path, {}, strict_environment=False)

    assert [str(diagnostic) for diagnostic in specs.diagnostics if diagnostic.severity == "error"] == []


@pytest.mark.parametrize("arguments", command_lines())
def test_every_command_line_is_understood(arguments: list[str]) -> None:
    name, here = "gateway", typer.main.get_command(app)
    while hasattr(here, "commands"):
        name, here, arguments = here.resolve_command(typer.Context(here), arguments)

    here.make_context(name, arguments)


@pytest.mark.parametrize(
    "target", sorted({name for page in PAGES for name in re.findall(MAKE, page.read_text(), re.M)})
)
def test_every_make_target_exists(target: str) -> None:
    assert f"\n{target}: " in (ROOT / "Makefile").read_text()


def test_the_route_of_the_readme_is_the_shipped_one() -> None:
    (shown,) = blocks(README, "yaml")
    shipped = yaml.safe_load((ROOT / "routes.d/zstack-to-tencent.yaml").read_text())

    assert yaml.safe_load(shown) == {key: value for key, value in shipped.items() if key != "cases"}


def test_the_call_of_the_readme_is_that_of_the_shipped_case() -> None:
    (shown,) = blocks(README, "json")
    first = yaml.safe_load((ROOT / "routes.d/zstack-to-tencent.yaml").read_text())["cases"][0]

    assert yaml.safe_load(shown) == first["sends"][0]["json"]


def test_the_request_of_the_readme_is_that_of_the_demonstration() -> None:
    (shown,) = [block for block in blocks(README, "sh") if block.startswith("curl")]

    demo = run("demo", "--port", "0", "--once")

    (printed,) = [line for line in demo.output.splitlines() if line.startswith("curl")]
    assert demo.code == 0
    assert re.sub(r":\d+/", ":8080/", printed) == shown.rstrip("\n")


def test_samples_are_the_shipped_routes_with_data_points() -> None:
    assert {"zstack-to-tencent", *re.findall(r"`make run ROUTE=([\w-]+)`", STARTED)} == set(REPORTING)


@pytest.mark.parametrize("block", numbered("text", [ROOT / "docs/cookbook.md"]))
def test_every_expression_of_the_cookbook_has_its_result(block: str) -> None:
    shown = yaml.safe_load(block)
    compiler = Compiler()
    compile_ = compiler.expression if "expression" in shown else compiler.text

    evaluate = compile_(shown.get("expression", shown.get("text")), shown["data"], ())

    assert compiler.problems == []
    assert evaluate(shown["data"]) == shown["result"]


@pytest.mark.parametrize("block", numbered("yaml", [ROOT / "docs/cookbook.md"]))
def test_every_spec_of_the_cookbook_passes_its_cases(block: str, tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(block)

    name = block.split()[1]

    specs = load(tmp_path, {}, strict_environment=False, trials=True)

    own = [trial for trial in specs.trials if trial.owner == name]
    assert len(own) == block.count("- case:")
    assert [run_case(trial.case, trial.route) for trial in own] == [[]] * len(own)


def test_walkthrough_recipe_is_short_and_passes_its_vectors(tmp_path: Path) -> None:
    page = ROOT / "docs/adding-a-recipe.md"
    (recipe,) = blocks(page, "yaml")
    (vectors,) = [block for block in blocks(page, "text") if block.startswith("vectors:")]
    (tmp_path / "recipe.yaml").write_text(recipe + vectors)

    specs = load(tmp_path, {})

    own = [(recipe, vector) for recipe, vector, _ in specs.vectors if recipe.name == "baidu-bce"]
    assert len(recipe.splitlines()) <= 15
    assert [run_vector(recipe, vector) for recipe, vector in own] == [[], []]


@pytest.mark.parametrize("step", ["slots", "carry", "steps"])
def test_walkthrough_parts_are_those_of_its_recipe(step: str) -> None:
    page = ROOT / "docs/adding-a-recipe.md"
    part = next(block for block in blocks(page, "text") if block.startswith(f"{step}:"))

    assert part in blocks(page, "yaml")[0]


def test_every_file_that_the_guide_for_contributors_names_exists() -> None:
    named = re.findall(r"`((?:tests|gateway|docs|routes\.d)/?[\w./-]*)`", (ROOT / "CONTRIBUTING.md").read_text())

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_that_the_code_names_exists() -> None:
    code = "".join(file.read_text() for folder in ("gateway", "tests") for file in (ROOT / folder).rglob("*.py"))
    named = set(re.findall(r"\bdocs/[\w-]+\.md", code + (ROOT / "CHANGELOG.md").read_text()))

    assert named
    assert [page for page in named if not (ROOT / page).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", page.read_text())
    targets = [((page.parent / file).resolve() if file else page, anchor) for file, anchor in links]

    broken = [(file.name, anchor) for file, anchor in targets if not file.exists()]
    broken += [(file.name, anchor) for file, anchor in targets if anchor and anchor not in anchors(file)]
    assert broken == []


def test_coverage_page_matches_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cryptography")

    coverage(None)

    assert (ROOT / "docs/coverage.md").read_text().endswith("\n\n" + capsys.readouterr().out)


def test_matrix_page_matches_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    matrix()

    assert (ROOT / "docs/matrix.md").read_text().endswith("\n\n" + capsys.readouterr().out)
