"""`let` expressions, by JEP-18 of JMESPath."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.core.expression.closures import EvaluationError, compile_tree
from gateway.core.expression.lint import root_names
from gateway.core.expression.parser import BadExpression, parse

DATA: dict[str, Any] = {"a": {"b": 5}, "host": "web-1", "rows": [{"v": 1, "a": 0}, {"v": 2}], "pairs": [[0, 1], [2, 3]]}


def search(source: str, document: Any) -> Any:
    return compile_tree(source, parse(source))(document)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("let $x = a in $x", {"b": 5}),
        ("let $x = a.b in [$x, $x]", [5, 5]),
        ("let $x = a in $x.b", 5),
        ("let $x = host, $y = a.b in {host: $x, b: $y}", {"host": "web-1", "b": 5}),
        ("let $x = host in rows[*].[$x, v]", [["web-1", 1], ["web-1", 2]]),
        ("let $x = a.b in rows[?a != $x] | [0].v", 1),
        ("let $x = `2` in rows[?v == $x].v", [2]),
        ("let $x = host in map(&[$x, v], rows)", [["web-1", 1], ["web-1", 2]]),
        ("let $x = a in rows[*].[v, let $x = v in $x]", [[1, 1], [2, 2]]),
        ("let $x = a.b in [let $x = host in $x, $x]", ["web-1", 5]),
        ("let $x = host in let $y = $x in $y", "web-1"),
        ("let $x = host in let $x = [$x] in $x", ["web-1"]),
        ("let $x = host in let $x = none in $x", None),
        ("let $x = pairs[*] in $x[0]", [0, 1]),
        ("a | let $x = b in [$x]", [5]),
        ("rows[*].{n: let $x = v in $x}", [{"n": 1}, {"n": 2}]),
        ("[let $x = host in $x, host == 'web-1']", ["web-1", True]),
        ("length(let $x = rows in $x)", 2),
        ("let $in = host in $in", "web-1"),
        ("let $let = host in {let: $let, in: @.host}", {"let": "web-1", "in": "web-1"}),
        ("{let: let, in: in}", {"let": None, "in": None}),
        ("let\n  $x = host\nin\n  $x", "web-1"),
        ("let $x=a.b in $x==`5`", True),
    ],
)
def test_let_has_this_value(source: str, result: Any):
    assert search(source, DATA) == result


@pytest.mark.parametrize(
    ("source", "what", "hint"),
    [
        ("$x", "'$x': unknown variable $x", "write `let $name = expression in expression`"),
        ("[let $x = a in $x, $x]", "unknown variable $x", ""),
        ("let $x = a, $y = $x in $y", "unknown variable $x", ""),
        ("let $host = a in $hots", "unknown variable $hots", "did you mean '$host'?"),
        ("let $x = a", "ends too early", ""),
        ("let $x = a $x", "unexpected '$x' at character 12", ""),
        ("let $x = a, in $x", "unexpected 'in' at character 13", ""),
        ("let $x a in $x", "unexpected 'a' at character 8", ""),
        ("let $x == a in $x", "unexpected '==' at character 8", ""),
        ("let x = a in x", "unexpected 'x' at character 5", ""),
        ("let $ x = a in $x", "unexpected '$' at character 5", ""),
        ("let $x = in $x", "unexpected '$x' at character 13", ""),
        ("let $x = a in rows[*].$x", "unexpected '$x' at character 23", ""),
        ("a = b", "unexpected '=' at character 3", ""),
        ("a = = b", "unexpected '=' at character 3", ""),
    ],
)
def test_mistake_in_let_is_found_at_load(source: str, what: str, hint: str):
    with pytest.raises(BadExpression) as caught:
        parse(source)

    assert what in str(caught.value)
    assert hint in caught.value.hint


def test_names_that_a_let_reads_are_found():
    tree = parse("let $x = body.a, $y = given in rows[?v == $x].[$y.b, c] | [0]")

    assert list(root_names(tree)) == [("body", "a"), ("given",), ("rows",)]


def test_error_in_the_body_ends_the_let():
    with pytest.raises(EvaluationError, match="is not text"):
        search("let $x = a in upper($x)", DATA)

    assert search("let $y = a.b in $y", DATA) == 5


def test_expression_that_leaves_its_let_cannot_read_its_variables():
    with pytest.raises(EvaluationError, match=r"\$x is read outside its `let`"):
        search("map(let $x = host in &$x, rows)", DATA)


def test_threads_do_not_share_variables():
    expression = compile_tree("", parse("let $x = n in rows[*].[$x]"))
    documents = [{"n": number, "rows": [0] * 200} for number in range(50)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(expression, documents))

    assert found == [[[document["n"]]] * 200 for document in documents]
