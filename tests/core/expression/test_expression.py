from collections.abc import Collection, Mapping
from typing import Any

import pytest

from gateway.core.expression import Compiler, EvaluationError, Expression
from gateway.core.expression.functions import FUNCTIONS
from gateway.core.expression.lint import reads_only

SCOPE: Mapping[str, Any] = {
    "body": {"a": 1, "b": None, "items": [{"v": 1}, {"v": 2}], "text": "x", "ok": False},
    "given": {"region": "sh", "port": 80, "ratio": 0.5, "on": True, "list": [1]},
    "none": None,
}


def compiled(source: Any, names: Collection[str] | None = tuple(SCOPE)) -> Expression:
    compiler = Compiler()
    expression = compiler.expression(source, names, ())
    assert compiler.problems == []
    return expression


def filled(source: str) -> str | None:
    compiler = Compiler()
    text = compiler.text(source, SCOPE, ())
    assert compiler.problems == []
    return text(SCOPE)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        pytest.param("body.a", 1, id="path"),
        pytest.param("body.items[*].v", [1, 2], id="projection"),
        pytest.param("body.items[?v > `1`].v | [0]", 2, id="filter and pipe"),
        pytest.param("body.items[0:1].v", [1], id="slice"),
        pytest.param("'text'", "text", id="text"),
        pytest.param("body.nothing.at.all", None, id="absent"),
        pytest.param("map(&v, body.items)", [1, 2], id="function of an expression"),
        pytest.param("{x: body.a, y: given.region}", {"x": 1, "y": "sh"}, id="hash"),
        pytest.param("!(body.ok) && body.text", "x", id="and"),
        pytest.param("@.body.a", 1, id="current node"),
        pytest.param(5, 5, id="number is itself"),
        pytest.param(False, False, id="boolean is itself"),
        pytest.param(None, None, id="null is itself"),
        pytest.param(
            {"x": "body.a", "y": {"z": "given.port", "t": True}}, {"x": 1, "y": {"z": 80, "t": True}}, id="map"
        ),
        pytest.param({"x": "body.b", "y": "none", "z": None}, {}, id="null members are left out"),
        pytest.param(["body.b", "body.a", None, 2.5], [None, 1, None, 2.5], id="null items stay"),
        pytest.param({"x": {"y": "body.b"}}, {"x": {}}, id="an emptied map stays"),
    ],
)
def test_expression_has_this_value(source: Any, value: Any):
    assert compiled(source)(SCOPE) == value


@pytest.mark.parametrize(
    ("source", "what", "hint"),
    [
        pytest.param("bdy.a", "unknown name 'bdy'", "did you mean 'body'?", id="unknown name"),
        pytest.param("Sum", "unknown name 'Sum'", """known: body, given, none; text is written "'Sum'\"""", id="text"),
        pytest.param("body.items[?qqqq == metric]", None, "", id="names within a filter are members"),
        pytest.param("body.a == qqqq", "unknown name 'qqqq'", "known:", id="name beside a comparison"),
        pytest.param("{x: qqqq}", "unknown name 'qqqq'", "known:", id="name in a hash"),
        pytest.param("[qqqq]", "unknown name 'qqqq'", "known:", id="name in a list"),
        pytest.param("not_null(body, qqqq)", "unknown name 'qqqq'", "known:", id="name in a call"),
        pytest.param("!body.a", "'!body.a': a member of a boolean is always null", "write !(a.b)", id="negation"),
        pytest.param("(body == given).a", "a member of a boolean is always null", "", id="member of a comparison"),
        pytest.param("lokup(body, 'a')", "unknown function 'lokup'", "did you mean 'lookup'?", id="unknown function"),
        pytest.param("matches(body.a)", "matches() takes 2 arguments, not 1", "", id="too few"),
        pytest.param("to_ms(body.a, body.b)", "to_ms() takes 1 argument, not 2", "", id="too many"),
        pytest.param("merge()", "merge() takes 1 or more arguments, not 0", "", id="too few of many"),
        pytest.param("", "an empty text is not a JMESPath expression", "literal text needs quotes", id="empty"),
        pytest.param("body[", "'body[' is not JMESPath", "", id="open bracket"),
        pytest.param("a b", "'a b' is not JMESPath (unexpected 'b' at character 3)", "", id="two words"),
        pytest.param("!" * 5000 + "body", "the expression is nested too deeply", "", id="nested"),
    ],
)
def test_mistake_is_found_at_load(source: str, what: str | None, hint: str):
    compiler = Compiler()
    expression = compiler.expression({"x": source}, SCOPE, ("item",))

    assert [problem.path for problem in compiler.problems] == [("item", "x")] * (what is not None)
    assert all((what or "") in problem.what and hint in problem.hint for problem in compiler.problems)
    assert what is None or expression(SCOPE) == {}


@pytest.mark.parametrize(
    ("source", "only"),
    [
        ("body.a", True),
        ("'text'", True),
        (5, True),
        ({"a": "body.a", "b": ["given.x", None]}, True),
        ("body.items[?a == b].c | [0]", True),
        ("item.a || body.a", False),
        ({"a": "body.a", "b": "item"}, False),
        ("@", False),
        ("merge(@, body)", False),
        ("*.a", False),
        ("[", False),
    ],
    ids=repr,
)
def test_expression_reads_only_some_names(source: Any, only: bool):
    assert reads_only(source, {"body", "given"}) is only


def test_all_mistakes_in_a_tree_are_found_with_their_paths():
    compiler = Compiler()
    compiler.expression({"a": "nope", "b": ["body.a", "|", {"c": "f(body)"}]}, SCOPE, ("send",))

    assert [problem.path for problem in compiler.problems] == [("send", "a"), ("send", "b", 1), ("send", "b", 2, "c")]


def test_names_are_unchecked_if_the_scope_is_unknown():
    assert compiled("whatever.a", None)({"whatever": {"a": 1}}) == 1


def test_compiler_records_names_and_functions():
    compiler = Compiler()

    compiler.expression({"a": "given.region", "b": "to_ms(body.b)"}, SCOPE, ("item",))

    assert compiler.read == {("given", "region"): ("item", "a"), ("body", "b"): ("item", "b")}
    assert compiler.functions == {"to_ms"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param("", "", id="empty"),
        pytest.param("/{given.region}/{given.port}", "/sh/80", id="names"),
        pytest.param("{given.on} {given.ratio}", "true 0.5", id="boolean and number"),
        pytest.param("{{{given.region}}}", "{sh}", id="braces"),
        pytest.param('{{"a": 1}}', '{"a": 1}', id="only braces"),
        pytest.param("a{body.b}", None, id="null name gives null"),
        pytest.param("a{none.b.c}", None, id="member of null"),
    ],
)
def test_text_is_filled_in(source: str, text: str | None):
    assert filled(source) == text


def test_text_escapes_only_inserted_values():
    text = Compiler().text("/a b/{name}", {"name"}, (), escape=str.upper)

    assert text({"name": "x"}) == "/a b/X"


@pytest.mark.parametrize("source", ["{", "}", "a}b", "{}", "{a b}", "{a[0]}", "{1}", "{'x'}"])
def test_brace_without_a_name_is_a_mistake(source: str):
    compiler = Compiler()
    compiler.text(source, SCOPE, ("path",))

    assert compiler.problems[0].path == ("path",)
    assert compiler.problems[0].what.endswith("is not a name in braces")


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        ("<M>{v|xml}</M>", 'a<b>&"c"\'', "<M>a&lt;b&gt;&amp;&quot;c&quot;&#x27;</M>"),
        ("<M>{v|xml}</M>", "\x00\x1b\ud800\tok\n", "<M>\ufffd\ufffd\ufffd\tok\n</M>"),
        ('{{"m": "{v|json}"}}', 'say "hi"\\\n\x01é', '{"m": "say \\"hi\\"\\\\\\n\\u0001\\u00e9"}'),
        ("{v|json}", 5, "5"),
        ("{v|xml}", None, None),
    ],
    ids=["markup", "characters that XML cannot hold", "JSON", "a number", "null"],
)
def test_filter_escapes_a_value_in_text(source: str, value: Any, text: str | None):
    assert Compiler().text(source, {"v"}, ())({"v": value}) == text


def test_unknown_name_in_text_is_a_mistake():
    compiler = Compiler()
    compiler.text("{givn.region}", SCOPE, ())

    assert compiler.problems[0][1:] == ("unknown name 'givn'", "did you mean 'given'?")


def test_list_in_text_is_an_evaluation_error():
    with pytest.raises(EvaluationError, match=r"given\.list: not text but a list"):
        filled("{given.list}")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        pytest.param("""from_json('{"a": [1]}')""", {"a": [1]}, id="from_json"),
        pytest.param("from_json(body.items)", [{"v": 1}, {"v": 2}], id="from_json of a value that is not text"),
        pytest.param("from_json(none)", None, id="from_json of null"),
        pytest.param("to_json(body.items)", '[{"v":1},{"v":2}]', id="to_json"),
        pytest.param("to_json(none)", None, id="to_json of null"),
        pytest.param("from_ms(`1700000000123`)", 1_700_000_000_123_000_000, id="from_ms"),
        pytest.param("from_ms('1700000000123')", 1_700_000_000_123_000_000, id="from_ms of digits"),
        pytest.param("from_ms(`1.5`)", 1_500_000, id="from_ms of a fraction"),
        pytest.param("from_ms(none)", None, id="from_ms of null"),
        pytest.param("from_s('1700000000')", 1_700_000_000_000_000_000, id="from_s of digits"),
        pytest.param("from_s(`1.5`)", 1_500_000_000, id="from_s of a fraction"),
        pytest.param("from_ns('1700000000123456789')", 1_700_000_000_123_456_789, id="from_ns of digits"),
        pytest.param("to_s(`1700000000999999999`)", 1_700_000_000, id="to_s rounds down"),
        pytest.param("to_number('1e3')", 1000.0, id="to_number of text"),
        pytest.param("to_number('18446744073709551616')", 2**64, id="to_number keeps every digit"),
        pytest.param("to_number('NaN')", None, id="to_number of NaN"),
        pytest.param("to_number('1_000')", None, id="to_number by JSON's grammar"),
        pytest.param("to_number(' 1')", None, id="to_number of a space"),
        pytest.param("to_number(`true`)", None, id="to_number of true"),
        pytest.param("to_number(none)", None, id="to_number of null"),
        pytest.param("round(`2.5`)", 2, id="round to the even one"),
        pytest.param("round('-1.6')", -2, id="round of text"),
        pytest.param("round(`9007199254740993`)", 2**53 + 1, id="round of an integer"),
        pytest.param("is_integer(`5`)", True, id="is_integer"),
        pytest.param("is_integer(`5.0`)", False, id="is_integer of a fraction"),
        pytest.param("is_integer(none)", False, id="is_integer of null"),
        pytest.param("if(body.ok, 'a', 'b')", "b", id="if"),
        pytest.param("if(none, 'a', 'b')", "b", id="if of null"),
        pytest.param("if(`0`, 'a', 'b')", "a", id="if of zero, which is true"),
        pytest.param("if(`[]`, 'a')", None, id="if without a third"),
        pytest.param("substitute('a/b c', '[^a-z]', '_')", "a_b_c", id="substitute"),
        pytest.param("substitute('ab', 'b', '\\\\g<0>')", r"a\\g<0>", id="substitute takes no references"),
        pytest.param("upper('By/s')", "BY/S", id="upper"),
        pytest.param('items(`{"a": 1}`)', [["a", 1]], id="items"),
        pytest.param("items(none)", None, id="items of null"),
        pytest.param('from_items(`[["a", 1], ["b", 2], ["a", 3]]`)', {"a": 3, "b": 2}, id="from_items"),
        pytest.param("lookup(given, 'region')", "sh", id="lookup"),
        pytest.param("lookup(given, none)", None, id="lookup of null"),
        pytest.param('omit(`{"a": 1, "b": 2}`, [\'a\'])', {"b": 2}, id="omit"),
        pytest.param('unpivot(`{"a": 1, "b": "2", "c": true}`, none)', [{"name": "a", "value": 1}], id="unpivot"),
        pytest.param("unpivot(`{\"a\": 1, \"b\": 2}`, ['b', 'x'])", [{"name": "b", "value": 2}], id="unpivot of names"),
        pytest.param(
            'unpivot(`{"a": "1", "b": null}`, [\'a\', \'b\'])', [{"name": "a", "value": "1"}], id="unpivot text"
        ),
        pytest.param("unpivot(none, none)", [], id="unpivot of null"),
        pytest.param(
            'pivot(`[{"t": 1, "n": "a", "v": 2}, {"t": 1, "n": "b", "v": 3}]`, \'n\', \'v\')',
            [{"t": 1, "a": 2, "b": 3}],
            id="pivot",
        ),
        pytest.param('flatten(`{"A": [{"B": 1}]}`, \'.0\')', {"A.0.B": 1}, id="flatten"),
        pytest.param('nest(`{"A.0.B": "1"}`, \'.0\')', {"A": [{"B": "1"}]}, id="nest"),
        pytest.param("to_ms(`1700000000123999999`)", 1_700_000_000_123, id="to_ms rounds down"),
        pytest.param("to_ms(`-1`)", -1, id="to_ms below zero"),
        pytest.param("to_ms(none)", None, id="to_ms of null"),
        pytest.param("matches('abc', '[a-c]+')", True, id="matches"),
        pytest.param("matches('abcd', '[a-c]+')", False, id="matches the whole"),
        pytest.param("matches(none, '.*')", False, id="matches of null"),
        pytest.param(
            "format_time(`1700000000000000000`, '%b %d, %Y %I:%M %p')", "Nov 14, 2023 10:13 PM", id="format_time"
        ),
        pytest.param("path_of('http://h:1/a/b?c=d#e')", "/a/b?c=d", id="path_of"),
        pytest.param("path_of('http://h')", "/", id="path_of without a path"),
        pytest.param("path_of('/a')", "/a", id="path_of a path"),
        pytest.param("path_of(none)", None, id="path_of null"),
    ],
)
def test_function_returns(source: str, value: Any):
    assert compiled(source)(SCOPE) == value


def test_every_function_has_an_example_above():
    (mark,) = (mark for mark in test_function_returns.pytestmark if mark.name == "parametrize")

    assert {case.values[0].partition("(")[0] for case in mark.args[1]} == set(FUNCTIONS)


@pytest.mark.parametrize(
    "source",
    [
        "from_json('{')",
        "from_items(`[[1]]`)",
        "items(`1`)",
        "omit(given, 'x')",
        "pivot(`[{}]`, 'n', 'v')",
        "round(`true`)",
        "substitute(`1`, 'a', 'b')",
        "unpivot(`[]`, none)",
        "upper(`1`)",
        "from_ms('12:00')",
        "from_ms(body.ok)",
        "from_ms(body.items)",
        "matches(body.a, '.*')",
        "matches(body.text, '[')",
        "path_of(body.a)",
        "length(body.a)",
        "sum(body.items)",
    ],
)
def test_invalid_argument_is_an_evaluation_error(source: str):
    with pytest.raises(EvaluationError) as caught:
        compiled(source)(SCOPE)

    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)


def test_an_endless_chain_of_alternatives_is_a_problem_and_not_a_crash():
    compiler = Compiler()
    compiler.expression(" || ".join(["a"] * 20_000), {"a"}, ("at",))

    assert compiler.problems[0].what == "the expression is nested too deeply"
