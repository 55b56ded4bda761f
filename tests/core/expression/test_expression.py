from collections.abc import Collection, Mapping
from typing import Any

import pytest

from gateway.core.expression import Compiler, EvaluationError, Expression
from gateway.core.expression.functions import FUNCTIONS
from gateway.core.expression.lint import reads_only

SCOPE: Mapping[str, Any] = {
    "body": {"a": 1, "b": None, "items": [{"v": 1}, {"v": 2}], "text": "x", "ok": False},
    "given": {"bad": "[", "region": "sh", "port": 80, "ratio": 0.5, "on": True, "list": [1]},
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
        pytest.param("matches(body.a, '[')", "'[' is not a pattern: unterminated character set", "", id="pattern"),
        pytest.param(r"replace(body.a, 'b', '\1')", "invalid group reference 1 at position 1", "", id="template"),
        pytest.param(
            "substitute(body.a, 'b', 'c')",
            "unknown function 'substitute'",
            "this was renamed: write `replace(text, pattern, template)`",
            id="renamed function",
        ),
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
        pytest.param("replace('a/b c', '[^a-z]', '_')", "a_b_c", id="replace"),
        pytest.param(r"replace('diskReadBytes', '([a-z])([A-Z])', '\1_\2')", "disk_Read_Bytes", id="replace by groups"),
        pytest.param(r"replace('cpu.0', '(?P<n>[0-9]+)', '{\g<n>}')", "cpu.{0}", id="replace by a named group"),
        pytest.param(r"replace('b', '(a)?b', '\1.')", ".", id="replace by a group without a match"),
        pytest.param(r"replace('ab', 'b', '\\')", "a\\", id="replace by a backslash"),
        pytest.param("replace(none, 'a', 'b')", None, id="replace of null"),
        pytest.param("split('a:b,c:d', ',')", ["a:b", "c:d"], id="split"),
        pytest.param("split('a, ', ', ')", ["a", ""], id="split keeps empty parts"),
        pytest.param("split('', ',')", [], id="split of an empty text"),
        pytest.param("split(none, ',')", None, id="split of null"),
        pytest.param("zip(`[1, 2]`, ['a', none])", [[1, "a"], [2, None]], id="zip"),
        pytest.param("zip(`[]`, `[]`)", [], id="zip of empty lists"),
        pytest.param("zip(none, `[1]`)", None, id="zip of null"),
        pytest.param(
            "from_items(zip(['host', 'zone'], ['web-1', 'a']))", {"host": "web-1", "zone": "a"}, id="to a map"
        ),
        pytest.param("weigh(`[2, 5]`, `[3, 1]`)", {"count": 4, "sum": 11, "min": 2, "max": 5}, id="weigh"),
        pytest.param("weigh(`[1.5]`, ['2'])", {"count": 2, "sum": 3.0, "min": 1.5, "max": 1.5}, id="weigh text"),
        pytest.param("weigh(`[4, 2]`, none)", {"count": 2, "sum": 6, "min": 2, "max": 4}, id="weigh without counts"),
        pytest.param("weigh(`[9, 2]`, `[0, 1]`)", {"count": 1, "sum": 2, "min": 2, "max": 2}, id="weigh zero times"),
        pytest.param("weigh(`[]`, `[]`)", None, id="weigh no value"),
        pytest.param("weigh(none, none)", None, id="weigh null"),
        pytest.param("add(`18446744073709551614`, `1`)", 2**64 - 1, id="add keeps every digit"),
        pytest.param("add('1', `0.5`)", 1.5, id="add text and a fraction"),
        pytest.param("add(none, `1`)", None, id="add null"),
        pytest.param("sub(`-9223372036854775807`, `1`)", -(2**63), id="sub keeps every digit"),
        pytest.param("mul(`9007199254740993`, `3`)", 27021597764222979, id="mul keeps every digit"),
        pytest.param("mul(`0.5`, `4`)", 2.0, id="mul a fraction"),
        pytest.param("div(`18014398509481986`, `2`)", 2**53 + 1, id="div keeps every digit"),
        pytest.param("div(`7`, `2`)", 3.5, id="div with a remainder"),
        pytest.param("mod(`7`, `3`)", 1, id="mod"),
        pytest.param("mod(`-7`, `3`)", 2, id="mod has the sign of the divisor"),
        pytest.param("parse_time('2023-11-14T22:13:20Z')", 1_700_000_000_000_000_000, id="parse_time"),
        pytest.param("parse_time('14.11.2023', '%d.%m.%Y')", 1_699_920_000_000_000_000, id="parse_time by a pattern"),
        pytest.param("parse_time(none)", None, id="parse_time of null"),
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
        "unpivot(`[]`, none)",
        "upper(`1`)",
        "from_ms('12:00')",
        "from_ms(body.ok)",
        "from_ms(body.items)",
        "matches(body.a, '.*')",
        "matches(body.text, given.bad)",
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


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("replace(`1`, 'a', 'b')", "1 is not text"),
        ("replace('a', 'a', given.port)", "80 is not text"),
        (
            r"replace('a', given.region, '\2')",
            r"the template '\\2' does not fit the pattern 'sh': invalid group reference 2",
        ),
        (r"replace('a', given.region, '\g<n>')", r"the template '\\g<n>' does not fit the pattern 'sh': unknown group"),
        ("split(`1`, ',')", "1 is not text"),
        ("split('a', '')", "the separator is empty"),
        ("split('a', none)", "null is not text"),
        ("split(given.long, ',')", "more than 200000 parts"),
        ("zip(`[1]`, `[]`)", "a list of 1 and one of 0 elements cannot be paired"),
        ("zip(`[1]`, none)", "null is not a list"),
        ("zip(given, `[1]`)", "a map is not a list"),
        ("weigh(`[1, 2]`, `[1]`)", "2 values have 1 counts"),
        ("weigh(`[1]`, `[-1]`)", "the count -1 is negative"),
        ("weigh(['a'], `[1]`)", "'a' is not a number"),
        ("weigh(`[1]`, `[true]`)", "true is not a count"),
        ("weigh(`[1]`, ['a'])", "'a' is not a number"),
        ("weigh(`[18446744073709551615]`, `[2]`)", "the result 36893488147419103230 is not between -2^63 and 2^64-1"),
        ("weigh(`[1e308]`, `[10]`)", "the result is too large"),
        ("add(given.list, `1`)", "a list is not a number"),
        ("add(`true`, `1`)", "true is not a number"),
        ("add(`1`, none)", "null is not a number"),
        ("add(`18446744073709551615`, `1`)", "the result 18446744073709551616 is not between -2^63 and 2^64-1"),
        ("sub(`-9223372036854775808`, `1`)", "the result -9223372036854775809 is not between -2^63 and 2^64-1"),
        ("mul(`1e308`, `10`)", "the result is too large"),
        ("div(`1`, `0`)", "1 cannot be divided by zero"),
        ("div(`0.5`, `0.0`)", "0.5 cannot be divided by zero"),
        ("mod(`1`, `0`)", "1 cannot be divided by zero"),
        ("parse_time('yesterday')", "'yesterday' is not a time"),
        ("parse_time(`5`)", "5 is not text"),
        ("parse_time('2023', '%Q')", "'2023' is not a time of the form '%Q'"),
    ],
)
def test_cause_of_an_evaluation_error_names_the_value(source: str, cause: str):
    scope = {**SCOPE, "given": {**SCOPE["given"], "long": "," * 200_000}}

    with pytest.raises(EvaluationError) as caught:
        compiled(source)(scope)

    assert caught.value.cause.startswith(cause)


@pytest.mark.parametrize("source", ["if(`true`, `1`, div(`1`, `0`))", "if(none, div(`1`, `0`), `1`)"])
def test_if_evaluates_only_the_selected_branch(source: str):
    assert compiled(source)(SCOPE) == 1


def test_an_endless_chain_of_alternatives_is_a_problem_and_not_a_crash():
    compiler = Compiler()
    compiler.expression(" || ".join(["a"] * 20_000), {"a"}, ("at",))

    assert compiler.problems[0].what == "the expression is nested too deeply"
