"""The layers of the program: imports point down, never up and never sideways."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "gateway"
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
CORE = [name for name in MODULES if name.startswith("gateway.core")]
COMMANDS = [name for name in MODULES if name.startswith("gateway.commands.")]

# From the top down. A part may import what is below it, and itself.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"process"},
    {"app"},
    {"reload"},
    {"web", "delivery", "specs"},
    {"telemetry", "logs", "tls", "offload", "interrupts"},
    {"files"},
    {"proof"},
    {"core"},
    {""},  # gateway itself: the version
]
CORE_MAY_IMPORT = {"cryptography", "jmespath", "orjson", "gateway"} | sys.stdlib_module_names
IMPURE = {"asyncio", "io", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "sys"}
IMPURE |= {"tempfile", "threading", "time"}
IMPURE_CALLS = {"open(", "print(", "input(", ".open(", ".now(", ".today(", ".utcnow(", "uuid4(", ".uuid4("}


def imports(module: str) -> Iterator[str]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def own_imports(module: str) -> list[str]:
    return [name for name in imports(module) if name in MODULES]


def part(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def is_command(module: str) -> bool:
    """A command is the one function of a module of its name: `check` in check.py, `try_` in try_.py."""
    name = module.rpartition(".")[2].rstrip("_")
    defined = {node.name.rstrip("_") for node in tree(module).body if isinstance(node, ast.FunctionDef)}
    return module in COMMANDS and name in defined


def call_of(function: ast.expr) -> str:
    return f".{function.attr}(" if isinstance(function, ast.Attribute) else f"{getattr(function, 'id', '')}("


def layer(module: str) -> int:
    return next(depth for depth, parts in enumerate(LAYERS) if part(module) in parts)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str):
    up = [name for name in own_imports(module) if layer(name) < layer(module)]

    assert up == []


@pytest.mark.parametrize("module", MODULES)
def test_siblings_do_not_import_each_other(module: str):
    sideways = [name for name in own_imports(module) if layer(name) == layer(module) and part(name) != part(module)]

    assert sideways == []


@pytest.mark.parametrize("module", COMMANDS)
def test_commands_share_helpers_and_never_each_other(module: str):
    others = {name for name in own_imports(module) if is_command(name)}

    assert others == set()


@pytest.mark.parametrize("module", CORE)
def test_core_imports_nothing_impure(module: str):
    roots = {name.partition(".")[0] for name in imports(module)}

    assert roots <= CORE_MAY_IMPORT
    assert roots & IMPURE == set()


@pytest.mark.parametrize("module", CORE)
def test_core_has_no_waits_clock_files_or_randomness(module: str):
    nodes = list(ast.walk(tree(module)))
    called = {call_of(node.func) for node in nodes if isinstance(node, ast.Call)}

    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in nodes)
    assert called & IMPURE_CALLS == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_vendor_is_named_in_python(module: str):
    vendors = {re.split(r"[-.]", path.name)[0] for path in (ROOT / "providers").glob("*.yaml")}
    text = MODULES[module].read_text().lower()

    assert vendors
    assert {vendor for vendor in vendors if vendor in text} == set()
