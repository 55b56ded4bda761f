"""Patterns that take exponential time are found, and those that cannot backtrack into a repeat are not."""

from pathlib import Path

import pytest

from gateway.core.expression.backtracking import nested_repeat
from gateway.specs.load import load


@pytest.mark.parametrize(
    ("pattern", "group"),
    [
        ("(a+)+b", "(a+)+"),
        (r"x(?:\w*,?)*y", r"(?:\w*,?)*"),
        ("(?P<name>[)]+){2,}", "(?P<name>[)]+){2,}"),
        ("((a+)b?)*?", "((a+)b?)*?"),
        ("(?i:a{3,}|b)+", "(?i:a{3,}|b)+"),
        ("(.[^.]*)*", "(.[^.]*)*"),
        ("(,.*)*", "(,.*)*"),
        ("(,?[a-z]+)*", "(,?[a-z]+)*"),
        ("(a[A-Z]+)*", "(a[A-Z]+)*"),
        ("(,a?a*)*", "(,a?a*)*"),
        ("(,a+|b+)*", "(,a+|b+)*"),
        (r"(a)(b\1*)+", r"(b\1*)+"),
        (r"\((a+)+", "(a+)+"),
    ],
)
def test_a_repeat_of_a_repeat_is_found(pattern: str, group: str):
    assert nested_repeat(pattern) == group


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b*",
        "(a+)b+",
        "(a+)?",
        "(a+){1,20}",
        "(ab)+",
        "(a++)+b",
        "(a+)*+b",
        "(?>a+)*b",
        r"[a-z]+(\.[a-z]+)*",
        r"(-\d+(?:[a-f]x))*",
        r"(\(a+\))*",
        "([(a+)]b)+",
        r"\(a+\)+",
        ")+",
        "",
    ],
)
def test_patterns_without_nested_repeats_are_accepted(pattern: str):
    assert nested_repeat(pattern) is None


def test_pattern_that_is_not_a_fixed_text_is_left_out(tmp_path: Path):
    (tmp_path / "spec.yaml").write_text(
        "provider: acme\nsend:\n  item: {m: metric, v: 'if(matches(metric, unit), value)'}\n"
        "  request: {method: POST, path: /, json: items}\n"
    )

    assert list(load(tmp_path, {}).diagnostics) == []
