"""Expressions give the results and errors of JMESPath: its compliance suite, and jmespath.py as the oracle."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jmespath
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jmespath import visitor
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from gateway.core.expression.closures import EvaluationError, compile_tree
from gateway.core.expression.parser import BadExpression, parse

SUITE = Path(__file__).parents[2] / "data" / "jmespath"


def search(source: str, document: Any) -> Any:
    return compile_tree(source, parse(source))(document)


def exactly(value: Any) -> str:
    """Return a text that tells true from 1, and 1 from 1.0."""
    return json.dumps(value, sort_keys=True)


def suite() -> Iterator[Any]:
    for path in sorted(SUITE.glob("*.json")):
        for part in json.loads(path.read_bytes()):
            for number, case in enumerate(part["cases"]):
                yield pytest.param(part["given"], case, id=f"{path.stem} {number} {case['expression'][:60]}")


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax")
@pytest.mark.parametrize(("document", "case"), list(suite()))
def test_case_of_the_compliance_suite(document: Any, case: dict[str, Any]):
    if "error" in case:
        with pytest.raises(BadExpression if case["error"] == "syntax" else EvaluationError):
            search(case["expression"], document)
    else:
        expected = case["result"] if "result" in case else jmespath.search(case["expression"], document)
        assert exactly(search(case["expression"], document)) == exactly(expected)


NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 0.0, 1.0, 0.5, 2**63, 10**30])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "b", "12"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
LITERALS = (st.none() | st.booleans() | NUMBERS | DOCUMENTS).map(lambda value: f"`{json.dumps(value)}`")
LEAVES = NAMES | LITERALS | st.sampled_from(["@", "*", "[]", "[*]", "[0]", "[-1]", "'a'", "''", "[::-1]", "[::0]"])
FUNCTIONS = sorted(Functions.FUNCTION_TABLE.keys() - {"to_number"})  # to_number is ours


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return expressions that are made of smaller ones."""
    comparators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "&&", "||", "|"])
    arguments = st.lists(inner | inner.map("&{}".format), min_size=1, max_size=2).map(", ".join)
    return st.one_of(
        st.builds("{}.{}".format, inner, NAMES | st.just("*")),
        st.builds("{}{}".format, inner, st.sampled_from(["[]", "[*]", "[0]", "[-2]", "[:2]", "[::-1]"])),
        st.builds("{}[?{}]".format, inner, inner),
        st.builds("{}[?{}].{}".format, inner, inner, NAMES),
        st.builds("({}) {} ({})".format, inner, comparators, inner),
        st.builds("{} {} {}".format, inner, comparators, inner),
        st.builds("!{}".format, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}.{{a: {}, b: {}}}".format, inner, inner, inner),
        st.builds("{}({})".format, st.sampled_from(FUNCTIONS), arguments),
        st.builds("map(&{}, {})".format, inner, inner),
        st.builds("{}({}, &{})".format, st.sampled_from(["sort_by", "max_by", "min_by"]), inner, inner),
    )


EXPRESSIONS = st.recursive(LEAVES, grown, max_leaves=8)


class _Expression(visitor._Expression):
    """An argument `&expression`, whose text has no address. jmespath.py requires this class name."""

    def __repr__(self) -> str:
        return "&expression"


class Oracle(visitor.TreeInterpreter):
    """The interpreter of jmespath.py."""

    def visit_expref(self, node: Any, value: Any) -> _Expression:
        return _Expression(node["children"][0], self)


def interpreted(source: str, document: Any) -> Any:
    return Oracle().visit(jmespath.compile(source).parsed, document)


def outcome(function: Any, source: str, document: Any) -> tuple[str, str]:
    """Return the result, or the message of the error."""
    try:
        return "result", exactly(function(source, document))
    except EvaluationError as error:
        return "error", error.cause
    except (JMESPathError, ValueError, TypeError, ArithmeticError) as error:
        return "error", str(error).splitlines()[0]


@settings(max_examples=300, deadline=None)
@given(source=EXPRESSIONS, document=DOCUMENTS)
@example(source="to_string(&a)", document={})
@example(source="length(to_string([&a]))", document={})
def test_result_or_error_is_that_of_the_interpreter(source: str, document: Any):
    try:
        parse(source)
    except BadExpression:
        return

    assert outcome(search, source, document) == outcome(interpreted, source, document)
