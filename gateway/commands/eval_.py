"""gateway eval: evaluate one expression over a file, and show the value of each part."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from gateway.commands.arguments.options import STANDARD_INPUT, Json, option, read_file
from gateway.commands.output.errors import fail
from gateway.commands.output.printing import heading, json_line, line, print_diagnostics, print_json
from gateway.core.expression import Compiler, EvaluationError
from gateway.core.expression.closures import compile_tree
from gateway.core.expression.parser import Node, parse
from gateway.core.http.json import read_json
from gateway.specs.yaml import reader
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.nodes import to_python

MAX_VALUES = 3
MAX_VALUE_CHARS = 200
MAX_COLUMN_CHARS = 40
# Nodes whose value is obvious, or that of another step.
NOT_SHOWN = {"current", "expref", "identity", "let", "literal", "variable"}


def eval_(
    expression: Annotated[str, typer.Argument(metavar="EXPRESSION", help="An expression, as in specs.")],
    input: Annotated[str, option("FILE", "The data that it reads, JSON or YAML; - is standard input.")],
    json: Json = False,
) -> None:
    """Evaluate an expression over a file, and show each step.

    The names that the expression reads are the members of the data. Exits 1 if it fails.

    \b
    Example:
      gateway eval "from_ms(item.time)" --input sample.yaml
    """
    compiler = Compiler()
    compiler.expression(expression, None, ())
    if compiler.problems:
        fail("; ".join(text for text in compiler.problems[0][1:] if text))
    data = _read_data(input)
    steps: list[Step] = []
    shown: dict[str, Any] = {"expression": expression, "steps": steps}
    evaluate = compile_tree(expression, {**_observed(parse(expression), steps), "observe": _presentable})
    try:
        shown["result"] = evaluate(data)
    except EvaluationError as error:
        shown["error"] = error.cause
    if json:
        print_json({**shown, "steps": [step.as_json() for step in steps]})
    else:
        for text in _lines(steps):
            line(text)
    if "error" in shown:
        fail(shown["error"])
    if not json:
        heading("result")
        line(json_line(shown["result"]))


@dataclass(slots=True)
class Step:
    """A part of an expression, how often it was evaluated, and its first values."""

    expression: str
    evaluations: int = 0
    values: list[Any] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"expression": self.expression, "evaluations": self.evaluations, "values": self.values}


def _observed(node: Node, steps: list[Step]) -> Node:
    """Return a copy of a syntax tree that adds each part to the steps, in the order of their first evaluation."""
    inner = node["children"] if node["type"] == "slice" else [_observed(child, steps) for child in node["children"]]
    copy = {**node, "children": inner}
    if "text" not in node or node["type"] in NOT_SHOWN:
        return copy
    step = Step(node["text"])

    def observe(value: Any) -> Any:
        if not step.evaluations:
            steps.append(step)
        step.evaluations += 1
        if len(step.values) < MAX_VALUES:
            step.values.append(_presentable(value))
        return value

    return {**copy, "observe": observe}


def _presentable(value: Any) -> Any:
    """Return a value, or its text if JSON has no such value: an `&expression`."""
    try:
        json_line(value)
    except TypeError:
        return str(value)
    return value


def _read_data(path: str) -> Any:
    """Read JSON with exact numbers, or else YAML by the rules of specs."""
    data = read_file(path, "--input")
    try:
        return read_json(data)
    except ValueError:
        diagnostics = Diagnostics()
    documents = reader.parse(data, "standard input" if path == STANDARD_INPUT else path, diagnostics)
    if diagnostics.has_errors:
        print_diagnostics(diagnostics)
        fail("--input: the data is neither JSON nor YAML")
    if len(documents) != 1:
        fail(f"--input: {len(documents)} YAML documents, and one is needed")
    return to_python(documents[0])


def _lines(steps: list[Step]) -> Iterator[str]:
    names = [" ".join(step.expression.split()) for step in steps]
    width = max((len(name) for name in names if len(name) <= MAX_COLUMN_CHARS), default=0)
    for name, step in zip(names, steps, strict=True):
        texts = [json_line(value) for value in step.values]
        texts = [text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "…" for text in texts]
        if step.evaluations > len(texts):
            texts.append(f"… {step.evaluations - len(texts)} more")
        if len(name) > width:
            yield name
            name = ""
        for text in texts:
            yield f"{name:{width}}  {text}"
            name = ""
