import pytest

from gateway.core.http.request import Request
from gateway.core.vendor.matching import ANY_REQUEST, RequestMatcher

REQUEST = Request(
    "POST",
    "/?Action=Put&a=1&a=2",
    (("Host", "API.example:8080"), ("Content-Type", "Application/JSON; charset=utf-8"), ("X-Tc-Action", "Put")),
)


@pytest.mark.parametrize(
    ("subject", "patterns", "holds"),
    [
        pytest.param("host", ["api.example"], True, id="host without its port"),
        pytest.param("host", ["api.example:8080"], True, id="host with its port"),
        pytest.param("host", ["*.example"], True, id="host by a pattern"),
        pytest.param("host", ["example"], False, id="part of a host"),
        pytest.param("host", ["other", "api.example"], True, id="one of two"),
        pytest.param("type", ["application/json"], True, id="type"),
        pytest.param("type", ["application/*"], True, id="type by a pattern"),
        pytest.param("type", ["text/plain"], False, id="another type"),
        pytest.param("header.x-tc-action", ["*"], True, id="header that is there"),
        pytest.param("header.x-other", ["*"], False, id="header that is not"),
        pytest.param("header.x-tc-action", ["put"], False, id="header in another case"),
        pytest.param("query.Action", ["Put"], True, id="query"),
        pytest.param("query.a", ["2"], True, id="one of the values of a query"),
        pytest.param("query.b", ["*"], False, id="query that is not there"),
        pytest.param("key", ["k"], True, id="key, which is not asked for here"),
    ],
)
def test_request_meets_a_condition(subject: str, patterns: list[str], holds: bool):
    assert (RequestMatcher({subject: tuple(patterns)}).unmet(REQUEST) is None) is holds


def test_empty_matcher_matches_any_request():
    assert ANY_REQUEST.unmet(Request("GET", "/")) is None


def test_unparsable_query_meets_no_condition():
    assert RequestMatcher({"query.a": ("*",)}).unmet(Request("GET", "/?a=%ff")) is not None


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        pytest.param({"host": ("a",)}, {"host": ("b",)}, True, id="two hosts"),
        pytest.param({"host": ("a", "b")}, {"host": ("b", "c")}, False, id="a host in common"),
        pytest.param({"host": ("*.a",)}, {"host": ("x.b",)}, True, id="pattern that does not fit"),
        pytest.param({"host": ("*.a",)}, {"host": ("x.a",)}, False, id="pattern that fits"),
        pytest.param({"host": ("*.a",)}, {"host": ("b.*",)}, False, id="two patterns"),
        pytest.param({"host": ("a",)}, {"key": ("k",)}, False, id="two subjects"),
    ],
)
def test_matchers_are_disjoint(one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]], apart: bool):
    assert RequestMatcher(one).is_disjoint_from(RequestMatcher(other)) is apart
    assert RequestMatcher(other).is_disjoint_from(RequestMatcher(one)) is apart


@pytest.mark.parametrize(
    ("one", "other", "sharper"),
    [
        pytest.param({"host": ("a",)}, {}, True, id="more than nothing"),
        pytest.param({"host": ("a",), "key": ("k",)}, {"host": ("a",)}, True, id="the same and more"),
        pytest.param({"host": ("a",)}, {"host": ("a",)}, False, id="the same"),
        pytest.param({"host": ("b",), "key": ("k",)}, {"host": ("a",)}, False, id="other values"),
    ],
)
def test_matcher_is_stricter_than_another(
    one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]], sharper: bool
):
    assert RequestMatcher(one).is_stricter_than(RequestMatcher(other)) is sharper
