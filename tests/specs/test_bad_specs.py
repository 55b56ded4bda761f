"""Golden messages: each file in bad_specs/ has one mistake, a divider, and what `check` says to it.

To see a message after a change, run this file: the failing test shows both texts.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.specs.load import load

HERE = Path(__file__).parent
GATEWAY = HERE.parents[1] / "gateway"
DIVIDER = "# ---- expects\n"
GOLDEN = sorted((HERE / "bad_specs").glob("*.yaml"))

# The modules whose messages need a golden file. The reader and errors of specs/yaml have tests of their own.
SOURCES = [
    *sorted(path for path in (GATEWAY / "specs/binding").glob("*.py") if path.stem != "__init__"),
    *sorted(path for path in (GATEWAY / "specs/schema").glob("*.py") if path.stem != "__init__"),
    *(GATEWAY / "specs" / f"{name}.py" for name in ("yaml/document", "files", "load", "environment")),
    *(GATEWAY / "core/http" / name for name in ("text.py", "url.py")),
    *(GATEWAY / "core/recipe" / name for name in ("carriers.py", "syntax.py")),
    *(GATEWAY / "core/expression" / name for name in ("compiler.py", "lint.py", "parser.py")),
]
MESSAGE_ARGUMENTS_OF = {
    "error",
    "environmental",
    "expected",
    "invalid",
    "warning",
    "note",
    "report",
    "_report",
    "_or_report",
    "_problem",
    "RecipeError",
    "ValueError",
}
ELSEWHERE = {
    "checked in part: variables that decide how it is built are not set": "test_load.py",
    "no route is named …": "test_load.py",
    "… signs with RSA, and the package for that is not installed": "test_load.py",
    "pip install 'metric-gateway[rsa]'": "test_load.py",
    "the expression is nested too deeply": "test_expression.py",
    "a carrier takes only slots, and … is not a slot": "nowhere: names that are no slots are found before",
}


@cache
def expected(golden: Path) -> list[str]:
    return [line.removeprefix("# ") for line in golden.read_text().partition(DIVIDER)[2].splitlines()]


def messages_in(source: Path) -> Iterator[str]:
    """Yield each text that a source gives to a message, `…` for what is filled in."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            yield from (text for each in node.args if name in MESSAGE_ARGUMENTS_OF and (text := text_of(each)))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("what", "hint"):
            yield text_of(node.value)


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.stem)
def test_mistake_has_this_message(golden: Path, tmp_path: Path):
    text, divider, _ = golden.read_text().partition(DIVIDER)
    (tmp_path / "spec.yaml").write_text(text)

    found = [str(diagnostic).replace(f"{tmp_path}/", "") for diagnostic in load(tmp_path, {}).diagnostics]

    assert divider
    assert found == expected(golden)


def test_no_two_files_expect_the_same_message():
    messages = [re.sub(r"^spec.yaml:\d+:\d+: ", "", line) for golden in GOLDEN for line in expected(golden)]

    assert len(messages) == len(set(messages))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_message_has_a_file(source: Path):
    messages = "\n".join(line for golden in GOLDEN for line in expected(golden))
    texts = [text for text in messages_in(source) if re.search("[a-z]{2}", text) and text not in ELSEWHERE]

    unseen = [text for text in texts if not re.search(re.escape(text).replace("…", ".*"), messages)]

    assert unseen == []
