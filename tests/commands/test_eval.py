"""gateway eval."""

import sys
from pathlib import Path

import pytest

from tests.support.processes import command
from tests.support.terminal import Ended, run

DATA = b"item: {time: '1700000000123', rows: [{v: 1}, {v: 2}, {v: 3}, {v: 4}, {v: 18446744073709551615}]}"
VALUES = [1, 2, 3, 4, 2**64 - 1]


def evaluated(expression: str, *options: str, data: bytes = DATA) -> Ended:
    return run("eval", expression, "--input", "-", *options, stdin=data)


def test_each_part_is_shown_with_its_value_and_then_the_result() -> None:
    ended = evaluated("{t: from_ms(item.time), n: length(item.rows[?v > `3`])}")

    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.splitlines() == [
        'item.time                    "1700000000123"',
        "from_ms(item.time)           1700000000123000000",
        'item.rows                    [{"v":1},{"v":2},{"v":3},{"v":4},{"v":18446744073709551615}]',
        "v                            1",
        "                             2",
        "                             3",
        "                             … 2 more",
        "v > `3`                      false",
        "                             false",
        "                             false",
        "                             … 2 more",
        'item.rows[?v > `3`]          [{"v":4},{"v":18446744073709551615}]',
        "length(item.rows[?v > `3`])  2",
        "── result",
        '{"t":1700000000123000000,"n":2}',
    ]


def test_a_part_that_is_not_evaluated_is_not_shown() -> None:
    steps = evaluated("if(item.none, upper(item.time), `0`) || item.rows", "--json").json["steps"]

    assert [step["expression"] for step in steps] == ["item.none", "if(item.none, upper(item.time), `0`)"]


def test_json_has_the_steps_and_the_result() -> None:
    ended = evaluated("let $t = item.time in item.rows[?v < `3`].[$t, v] | [0]", "--json")

    chosen = [["1700000000123", 1], ["1700000000123", 2]]
    assert ended.json == {
        "expression": "let $t = item.time in item.rows[?v < `3`].[$t, v] | [0]",
        "steps": [
            {"expression": "item.time", "evaluations": 1, "values": ["1700000000123"]},
            {"expression": "item.rows", "evaluations": 1, "values": [[{"v": value} for value in VALUES]]},
            {"expression": "v", "evaluations": 5, "values": [1, 2, 3]},
            {"expression": "v < `3`", "evaluations": 5, "values": [True, True, False]},
            {"expression": "v", "evaluations": 2, "values": [1, 2]},
            {"expression": "item.rows[?v < `3`].[$t, v]", "evaluations": 1, "values": [chosen]},
            {"expression": "[0]", "evaluations": 1, "values": [chosen[0]]},
            {"expression": "item.rows[?v < `3`].[$t, v] | [0]", "evaluations": 1, "values": [chosen[0]]},
        ],
        "result": chosen[0],
    }


def test_a_failing_expression_shows_the_steps_before_its_error() -> None:
    ended = evaluated("div(item.rows[0].v, `0`)")

    assert (ended.code, ended.complaint) == (1, "gateway: 1 cannot be divided by zero")
    assert ended.output.splitlines()[-1] == "item.rows[0].v  1"


def test_json_of_a_failing_expression_has_the_error() -> None:
    ended = evaluated("upper(`1`)", "--json")

    assert (ended.code, ended.complaint) == (1, "gateway: 1 is not text")
    assert ended.json == {"expression": "upper(`1`)", "steps": [], "error": "1 is not text"}


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("uper(a)", "gateway: unknown function 'uper'; did you mean 'upper'?"),
        ("a +", "gateway: 'a +' is not JMESPath (unknown token + at character 3); JMESPath has no arithmetic; write"),
        ("$x", "gateway: '$x': unknown variable $x; write `let $name = expression in expression`"),
    ],
)
def test_a_mistake_in_the_expression_is_one_line(expression: str, complaint: str) -> None:
    ended = evaluated(expression)

    assert (ended.code, ended.output) == (1, "")
    assert ended.complaint.startswith(complaint)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"a: [1", "standard input:2:1: not YAML: "),
        (b"a: 1\na: 2", "standard input:2:1: duplicate key 'a'"),
        (b"", "gateway: --input: 0 YAML documents, and one is needed"),
        (b"a: 1\n---\na: 2", "gateway: --input: 2 YAML documents, and one is needed"),
    ],
)
def test_data_that_cannot_be_read_is_an_error(data: bytes, error: str) -> None:
    ended = evaluated("a", data=data)

    assert (ended.code, ended.output) == (1, "")
    assert error in ended.errors


@pytest.mark.parametrize(
    ("data", "result"),
    [
        (b'{"a": 18446744073709551616}', "18446744073709551616"),
        (b"a: 2023-11-14", '"2023-11-14"'),
        (b"{a: no}", '"no"'),
    ],
    ids=["JSON", "YAML", "YAML with braces"],
)
def test_data_is_json_or_yaml(data: bytes, result: str) -> None:
    assert evaluated("a", data=data).output == f"── result\n{result}\n"


def test_long_values_are_truncated_except_the_result() -> None:
    ended = evaluated("upper(a)", data=b"a: " + b"x" * 1000)

    assert ended.output == f'a  "{"x" * 199}…\n── result\n"{"X" * 1000}"\n'


def test_an_expression_as_value_is_shown_as_text() -> None:
    assert evaluated("[&a]").output == '── result\n"[&expression]"\n'


async def test_the_command_runs_as_a_process(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_bytes(b'{"a": [1, 2]}')

    async with command("eval", "sum(a)", "--input", str(tmp_path / "data.json"), python=(sys.executable,)) as process:
        code, output = await process.end()

    assert (code, output) == (0, "a  [1,2]\n── result\n3\n")
