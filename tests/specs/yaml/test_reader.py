import time

import pytest
import yaml

from gateway.specs.yaml.diagnostic import Diagnostics, Mark
from gateway.specs.yaml.nodes import ListNode, MapNode, Node, Scalar, find, key_mark, mark_of, to_python
from gateway.specs.yaml.reader import Loader, parse

LOADERS = [
    pytest.param(yaml.SafeLoader, id="pure"),
    pytest.param(
        getattr(yaml, "CSafeLoader", None),
        id="libyaml",
        marks=pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml"),
    ),
]


def read(text: str | bytes) -> list[Node]:
    diagnostics = Diagnostics()
    nodes = parse(text, "f.yaml", diagnostics)
    assert [str(found) for found in diagnostics] == []
    return nodes


def value_of(text: str) -> object:
    (node,) = read(text)
    return to_python(node)


def messages(text: str | bytes) -> list[str]:
    diagnostics = Diagnostics()
    parse(text, "f.yaml", diagnostics)
    return [str(found) for found in diagnostics]


# Scalars


def test_missing_value_is_null():
    assert value_of("a:\nb: {c: , d}") == {"a": None, "b": {"c": None, "d": None}}


@pytest.mark.parametrize(
    "text",
    ["no", "${PORT:-80}", "a::b", "x[0].y", "value != `0` || metric == 'total'", "if(stats, `2`, `1`)"],
)
def test_unquoted_expression_is_text(text: str):
    assert value_of(f"a: {text}") == {"a": text}


@pytest.mark.parametrize("text", ["1", "true", "null", "~", "", "1.5"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quoted_scalars_are_text(text: str, quote: str):
    assert value_of(f"a: {quote}{text}{quote}") == {"a": text}


def test_block_scalars_are_text():
    assert value_of("a: |\n  1\nb: >-\n  2\n") == {"a": "1\n", "b": "2"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!str", ""),
        ('!!int "12"', 12),
        ("!!null ''", None),
        ("!!seq [1]", [1]),
        ("!!map {b: 1}", {"b": 1}),
    ],
)
def test_core_tags_are_followed(text: str, value: object):
    assert value_of(f"a: {text}") == {"a": value}


def test_scalar_keeps_its_raw_text():
    (node,) = read("0777")

    assert node == Scalar(Mark("f.yaml", 1, 1), 777, "0777", True)


def test_quoted_scalar_is_not_plain():
    (node,) = read("'777'")

    assert node == Scalar(Mark("f.yaml", 1, 1), "777", "777", False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: !!int x", "f.yaml:1:4: a: 'x' is not an integer, as its tag says"),
        ("a: [1e999]", "f.yaml:1:5: a[0]: '1e999' is larger than any number here"),
    ],
)
def test_bad_number_is_an_error_at_its_place(text: str, complaint: str):
    assert messages(text) == [complaint]


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!binary", "!!timestamp", "!!omap"])
@pytest.mark.parametrize("value", ["x", "[x]", "{x: y}"])
def test_tag_outside_the_core_is_an_error(tag: str, value: str):
    assert messages(f"a: {tag} {value}") == [f"f.yaml:1:4: a: unknown tag '{tag}'"]


def test_local_tag_is_read_as_an_expression():
    diagnostics = Diagnostics()
    (node,) = parse("when: !(body.x) or y", "f.yaml", diagnostics)

    assert [str(found) for found in diagnostics] == [
        "f.yaml:1:7: when: unknown tag '!(body.x)'; put the expression in double quotes"
    ]
    assert to_python(node) == {"when": "!(body.x) or y"}


# Places


SPEC = """\
# comment
provider: acme
receive:
  requests:
    get: {method: GET, path: /, input: "nest(body, '.member.1')"}
cases:
  - case: wörld 😀
    request: {json: [{a: 1}, {"日本": 2}]}
"""


def test_nodes_know_their_places():
    (node,) = read(SPEC)

    assert isinstance(node, MapNode) and node.mark == Mark("f.yaml", 2, 1)
    assert mark_of(node, ["receive", "requests", "get", "input"]) == Mark("f.yaml", 5, 40)
    assert mark_of(node, ["cases", 0, "request", "json", 1, "日本"]) == Mark("f.yaml", 8, 37)


def test_keys_know_their_places():
    (node,) = read(SPEC)

    assert key_mark(node, ["receive", "requests", "get", "input"]) == Mark("f.yaml", 5, 33)
    assert key_mark(node, ["cases", 0, "request", "json", 1, "日本"]) == Mark("f.yaml", 8, 31)
    assert key_mark(node, ["cases", 0]) == Mark("f.yaml", 7, 5)


def test_lists_are_list_nodes():
    (node,) = read("[1, a]")

    assert node == ListNode(
        Mark("f.yaml", 1, 1),
        (Scalar(Mark("f.yaml", 1, 2), 1, "1", True), Scalar(Mark("f.yaml", 1, 5), "a", "a", True)),
    )


@pytest.mark.parametrize("loader", LOADERS)
def test_byte_order_mark_and_windows_line_ends_move_no_column(loader: Loader):
    (node,) = parse(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "f.yaml", Diagnostics(), loader=loader)

    assert mark_of(node, ["a"]) == Mark("f.yaml", 1, 4)
    assert mark_of(node, ["b"]) == Mark("f.yaml", 2, 4)


# Documents, anchors and merges


def test_each_document_is_a_node():
    first, second = read("route: a\n---\nroute: b\n")

    assert [to_python(first), to_python(second)] == [{"route": "a"}, {"route": "b"}]
    assert second.mark == Mark("f.yaml", 3, 1)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n# nothing\n---\n", b"\xef\xbb\xbf"])
def test_empty_document_is_no_node(text: str | bytes):
    assert read(text) == []


def test_explicit_null_is_a_document():
    assert value_of("~") is None


def test_documents_before_a_broken_one_are_kept():
    diagnostics = Diagnostics()
    nodes = parse("a: 1\n---\nb: c: d\n---\ne: 1\n", "f.yaml", diagnostics)

    assert [to_python(node) for node in nodes] == [{"a": 1}]
    assert len(diagnostics) == 1


def test_alias_is_the_anchored_node_at_its_place():
    (node,) = read("a: &json {b: 1}\nc: *json\n")

    assert to_python(node) == {"a": {"b": 1}, "c": {"b": 1}}
    assert mark_of(node, ["c", "b"]) == Mark("f.yaml", 1, 14)


def test_anchor_is_forgotten_at_the_end_of_its_document():
    assert messages("a: &x 1\n---\nb: *x\n") == [
        "f.yaml:3:4: b: no anchor '&x' above the alias '*x'; put the expression in double quotes"
    ]


def test_merged_entries_come_with_their_places_and_own_ones_win():
    (node,) = read("a: &gate {status: 401, why: not found}\nb: {<<: *gate, why: expired}\n")

    assert to_python(find(node, ["b"])) == {"status": 401, "why": "expired"}
    assert mark_of(node, ["b", "status"]) == Mark("f.yaml", 1, 19)
    assert key_mark(node, ["b", "status"]) == Mark("f.yaml", 1, 11)
    assert key_mark(node, ["b", "why"]) == Mark("f.yaml", 2, 16)


def test_own_entries_win_wherever_the_merge_stands():
    assert value_of("a: {b: 1, <<: {b: 2, c: 3}}") == {"a": {"b": 1, "c": 3}}


def test_earlier_map_of_a_merged_list_wins():
    assert value_of("a: {<<: [{b: 1}, {b: 2, c: 3}]}") == {"a": {"b": 1, "c": 3}}


def test_merged_map_can_be_merged_again():
    assert value_of("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}\n") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 2, "z": 3},
    }


def test_quoted_merge_key_is_an_ordinary_key():
    assert value_of('"<<": {a: 1}') == {"<<": {"a": 1}}


# Findings that do not stop the reading


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", ["f.yaml:3:1: duplicate key 'a'; the first is on line 1"], id="duplicate"),
        pytest.param(
            "a:\n  b: {c: 1, c: 2}\n",
            ["f.yaml:2:13: a.b: duplicate key 'c'; the first is on line 2"],
            id="duplicate below",
        ),
        pytest.param(
            "a: {<<: {x: 1}, <<: {y: 2}}",
            ["f.yaml:1:17: a: duplicate key '<<'; the first is on line 1"],
            id="two merges",
        ),
        pytest.param("- 1017: x", ['f.yaml:1:3: [0]: key 1017 is not text; quote it: "1017"'], id="number"),
        pytest.param("true: x", ['f.yaml:1:1: key true is not text; quote it: "true"'], id="boolean"),
        pytest.param("? ~\n: x", ['f.yaml:1:3: key ~ is not text; quote it: "~"'], id="null"),
        pytest.param("? \n: x", ['f.yaml:1:2: key (empty) is not text; quote it: ""'], id="empty key"),
        pytest.param(
            "{name}: x",
            ["f.yaml:1:1: a map cannot be a key: keys are text; put the expression in double quotes"],
            id="map as key",
        ),
        pytest.param(
            "[a]: x",
            ["f.yaml:1:1: a list cannot be a key: keys are text; put the expression in double quotes"],
            id="list as key",
        ),
        pytest.param(
            "a: {<<: x}",
            ["f.yaml:1:5: a: '<<' can only merge maps; give it a map or a list of maps, such as *name"],
            id="text merged",
        ),
        pytest.param(
            "a: &x 1\nb: &x 2\n",
            ["f.yaml:2:4: b: duplicate anchor '&x'; the first is on line 1"],
            id="duplicate anchor",
        ),
        pytest.param(
            "a: &json 1\nb: *jsn\n",
            ["f.yaml:2:4: b: no anchor '&jsn' above the alias '*jsn'; did you mean 'json'?"],
            id="misspelt alias",
        ),
        pytest.param(
            "a: *x",
            ["f.yaml:1:4: a: no anchor '&x' above the alias '*x'; put the expression in double quotes"],
            id="unknown alias",
        ),
        pytest.param("&a [*a]", ["f.yaml:1:5: [0]: alias '*a' is inside its own anchor '&a'"], id="recursion"),
    ],
)
def test_error_has_its_place_and_reading_continues(text: str, expected: list[str]):
    diagnostics = Diagnostics()
    nodes = parse(text, "f.yaml", diagnostics)

    assert [str(found) for found in diagnostics] == expected
    assert len(nodes) == 1


def test_first_of_two_equal_keys_is_kept():
    (node,) = parse("a: 1\na: 2\n", "f.yaml", Diagnostics())

    assert to_python(node) == {"a": 1}


def test_all_errors_of_a_file_are_reported():
    assert messages("1: a\nb: !x c\n---\nd: 1\nd: 2\n") == [
        'f.yaml:1:1: key 1 is not text; quote it: "1"',
        "f.yaml:2:4: b: unknown tag '!x'; put the expression in double quotes",
        "f.yaml:5:1: duplicate key 'd'; the first is on line 4",
    ]


def test_long_message_is_truncated():
    (complaint,) = messages(f"a: !{'x' * 1000} y")

    assert complaint == f"f.yaml:1:4: a: unknown tag '!{'x' * 186}…; put the expression in double quotes"


# Findings that end the stream

REFUSED = {
    "NUL": ("a: b\0", "1:5: character U+0000 is not allowed"),
    "control character": (
        "a: 1\nb: \x07",
        "2:4: character U+0007 is not allowed; write it as \\u0007 in double quotes",
    ),
    "line separator": ("a: b\u2028c", "1:5: character U+2028 is not allowed; write it as \\u2028 in double quotes"),
    "late byte order mark": (
        "\ufeff\ufeffa",
        "1:1: character U+FEFF is not allowed; write it as \\ufeff in double quotes",
    ),
    "latin-1": (b"a: 1\nb: \xe9", "2:4: byte 0xe9 is not UTF-8"),
    "UTF-16": ("a: 1".encode("utf-16"), "1:1: byte 0xff is not UTF-8"),
    "too big": (b"#" * (1024 * 1024 + 1), "1:1: 1,048,577 bytes, more than 1 MiB; split it into several files"),
    "too deep": (f"a: {'[' * 64}{']' * 64}", "1:67: nested deeper than 64 levels"),
    "bottomless": ("[" * 100_000, "1:65: nested deeper than 64 levels"),
    "too many": (f"[&a [{'1,' * 9_999}]{', *a' * 9}]", "1:20039: more than 100,000 values, aliases followed"),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("text", "complaint"), REFUSED.values(), ids=REFUSED)
def test_unreadable_text_is_one_message_with_its_place(text: str | bytes, complaint: str, loader: Loader):
    diagnostics = Diagnostics()
    nodes = parse(text, "f.yaml", diagnostics, loader=loader)

    assert str(list(diagnostics)[-1]) == f"f.yaml:{complaint}"
    assert nodes == []


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("escape", ["\\UFFFFFFFF", "\\ud800", "\\x", "\\N", "\\"])
def test_absurd_escape_does_not_raise(escape: str, loader: Loader):
    diagnostics = Diagnostics()
    parse(f'a: ["{escape}", "b{escape}c"', "f.yaml", diagnostics, loader=loader)

    assert diagnostics.has_errors


def test_deepest_allowed_nesting_is_read():
    assert messages(f"a: {'[' * 63}{']' * 63}") == []


def test_largest_allowed_file_is_read():
    assert read(b"a: 1\n".ljust(1024 * 1024, b"#")) != []


def test_nesting_counts_through_aliases():
    chain = "".join(f"k{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 80))

    assert messages(f"k0: &a0 []\n{chain}") == ["f.yaml:64:12: nested deeper than 64 levels"]


LAUGHS = "".join(f"k{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 30))
MERGES = "".join(f"k{n}: &a{n} {{x{n}: *a{n - 1}, y{n}: *a{n - 1}, <<: *a{n - 1}}}\n" for n in range(1, 30))


@pytest.mark.parametrize("bomb", [LAUGHS, MERGES], ids=["billion laughs", "merges"])
@pytest.mark.parametrize("loader", LOADERS)
def test_alias_bomb_is_rejected_quickly(bomb: str, loader: Loader):
    diagnostics = Diagnostics()
    start = time.perf_counter()
    nodes = parse(f"k0: &a0 {{ha: ha}}\n{bomb}", "f.yaml", diagnostics, loader=loader)

    assert time.perf_counter() - start < 0.5
    assert [found.what for found in diagnostics] == ["more than 100,000 values, aliases followed"]
    assert nodes == []


# The shapes our specs have

PROVIDER = """\
provider: acme
needs: [region]
given: {service: monitoring, members: [qps, latency,
        total]}
rules:
  namespace: {required: true, pattern: "(?!AWS/).+"}
receive:
  requests:
    json: {method: POST, path: /, match: {headers: {x-amz-target: "Acme20100801.*"}}, body: json}
  each: {item: body.MetricData}
  point:
    value: item.Value                      # a comment
    stats: "item.Stats.{count: SampleCount, sum: Sum}"
    time_ns: "request == 'query' && from_iso(item.Timestamp) || from_s(item.Timestamp)"
  replies:
    ok:
      - {when: "request == 'query'", xml: {Response: {"@xmlns": "'http://acme.example/'"}}}
      - {headers: &json {content-type: application/x-json-1.0}, json: {}}
    error: {status: "error.status || `400`", headers: *json}
    errors:
      MISSING_CREDENTIALS: &gate {status: 401, why: not found}
      STALE: {<<: *gate, why: "calc fail:signature expired"}
send:
  url: https://monitoring.{given.region}.amazonaws.com
  item: {Timestamp: to_s(time_ns), member: "if(contains(given.members, metric), metric, given.value_member)"}
  outcome:
    - {status: [200, 202], when: "body != `null`", code: OK}
cases:
  - case: the documentation's sample, an array
    now: 1530542500
    points:
      - {value: 9223372036854775807, time_ns: 1700000000123456789, attributes: {host: 1.2.3.19}}
"""

ROUTES = """\
route: zstack-to-tencent
receive:
  provider: zstack
  credentials: [{secret: "${ZSTACK_SESSION}"}]
send:
  url: ${TENCENT_URL:-http://receiver.example:8080}
delivery: {mode: direct, timeout_s: 5}
---
route: huawei-to-jdcloud
points:
  keep: value != `0` || metric == 'total'
  set:
    namespace: "replace(namespace, '[^0-9A-Za-z_.]', '_')"
    metric: join('.', ['cse', metric])
"""


@pytest.mark.parametrize("loader", LOADERS)
def test_provider_is_read_as_written(loader: Loader):
    diagnostics = Diagnostics()
    (node,) = parse(PROVIDER, "f.yaml", diagnostics, loader=loader)

    assert list(diagnostics) == []
    spec = to_python(node)
    assert spec["given"]["members"] == ["qps", "latency", "total"]
    assert spec["receive"]["point"]["value"] == "item.Value"
    assert spec["receive"]["replies"]["error"]["headers"] == {"content-type": "application/x-json-1.0"}
    assert spec["receive"]["replies"]["errors"]["STALE"] == {
        "status": 401,
        "why": "calc fail:signature expired",
    }
    assert spec["send"]["url"] == "https://monitoring.{given.region}.amazonaws.com"
    assert spec["cases"][0]["points"][0] == {
        "value": 9223372036854775807,
        "time_ns": 1700000000123456789,
        "attributes": {"host": "1.2.3.19"},
    }


@pytest.mark.parametrize("loader", LOADERS)
def test_routes_are_read_as_written(loader: Loader):
    diagnostics = Diagnostics()
    first, second = (to_python(node) for node in parse(ROUTES, "f.yaml", diagnostics, loader=loader))

    assert list(diagnostics) == []
    assert first["send"]["url"] == "${TENCENT_URL:-http://receiver.example:8080}"
    assert first["receive"]["credentials"] == [{"secret": "${ZSTACK_SESSION}"}]
    assert second["points"]["keep"] == "value != `0` || metric == 'total'"
    assert second["points"]["set"]["metric"] == "join('.', ['cse', metric])"


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("text", [PROVIDER, ROUTES, SPEC], ids=["provider", "routes", "small"])
def test_both_loaders_give_one_tree(text: str):
    pure = parse(text, "f.yaml", Diagnostics(), loader=yaml.SafeLoader)

    assert parse(text, "f.yaml", Diagnostics(), loader=yaml.CSafeLoader) == pure
