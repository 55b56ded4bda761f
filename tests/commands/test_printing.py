"""How commands print: secrets are masked, and nothing that a terminal would obey."""

import pytest

from gateway.commands.output.errors import printable
from gateway.commands.output.printing import count
from gateway.core.http.request import Secret
from gateway.core.outcome.masking import mask_secrets


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("OAuth abc", ["abc"], "OAuth ***"),
        ("abcdef abc", ["abc"], "abcdef ***"),
        ("xlong-secret-texty", ["long-secret-text"], "x***y"),
        ('{"s":"a\\"b/c and more"}', ['a"b/c and more'], '{"s":"***"}'),
        ("s=a%2Fb%2Bc%20defg", ["a/b+c defg"], "s=***"),
        ("s=a%2Fb%2Bc+defg", ["a/b+c defg"], "s=***"),
        ("secret-one secret-one-two", ["secret-one", "secret-one-two"], "*** ***"),
        ("caf\\u00e9-secret", ["café-secret"], "***"),
        ("nothing", [""], "nothing"),
        ("a.c abc", ["a.c"], "*** abc"),
    ],
    ids=[
        *("short", "short within a word", "long within a word", "JSON", "query", "form"),
        *("one within another", "escaped", "empty", "no pattern"),
    ],
)
def test_secrets_are_masked(text: str, secrets: list[str], shown: str) -> None:
    assert mask_secrets(text, [Secret(secret) for secret in secrets]) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve 命名 ✓", "naïve 命名 ✓"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x1b[31m\x07\r\x00", "\\x1b[31m\\x07\\r\\x00"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\u202e\u200b\xa0", "\\u202e\\u200b\\xa0"),
    ],
    ids=["letters", "lines", "control", "not UTF-8", "invisible"],
)
def test_control_characters_are_written_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(("number", "said"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases")])
def test_a_count_agrees_with_its_noun(number: int, said: str) -> None:
    assert count(number, "case") == said
