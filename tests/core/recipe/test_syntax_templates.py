import hashlib

import pytest

from gateway.core.recipe.filters import FILTERS, Kind
from gateway.core.recipe.syntax import REQUEST_NAMES, RecipeError, Value, compile_template

KINDS = {**REQUEST_NAMES, "digest": Kind.DIGEST}
VALUES: dict[str, Value] = {
    "method": "POST",
    "path": "/a//b/../c d/",
    "query": "a=1&b=%20",
    "host": "H.example:8080",
    "body": b"\xff{}",
    "digest": b"\x01\xfe",
    "header.x-a": "  a   b ",
}


def value(source: str) -> Value:
    return compile_template(source, KINDS).value(VALUES)


@pytest.mark.parametrize(
    ("source", "kind", "made"),
    [
        pytest.param("", Kind.TEXT, "", id="empty"),
        pytest.param("plain", Kind.TEXT, "plain", id="plain"),
        pytest.param("{method} {path}", Kind.TEXT, "POST /a//b/../c d/", id="text"),
        pytest.param("{body}", Kind.BYTES, b"\xff{}", id="bytes"),
        pytest.param("{method}\n{body}", Kind.BYTES, b"POST\n\xff{}", id="text joins bytes to bytes"),
        pytest.param("{digest}", Kind.DIGEST, b"\x01\xfe", id="digest alone"),
        pytest.param("x{digest|hex}", Kind.TEXT, "x01fe", id="encoded digest joins text"),
    ],
)
def test_template_has_a_kind(source: str, kind: Kind, made: Value):
    assert compile_template(source, KINDS).kind is kind
    assert value(source) == made


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("{path|percent}", "%2Fa%2F%2Fb%2F..%2Fc%20d%2F"),
        ("{path|percent:/}", "/a//b/../c%20d/"),
        ("{query|unpercent}", "a=1&b= "),
        ("{path|dots}", "/a/c d/"),
        ("{path|collapse}", "/a/b/../c d/"),
        ("{method|slash_end}", "POST/"),
        ("{path|slash_end}", "/a//b/../c d/"),
        ("{path|strip_prefix:/a/}", "/b/../c d/"),
        ("{path|strip_prefix:/z}", "/a//b/../c d/"),
        ("{method|lower}", "post"),
        ("{host|upper}", "H.EXAMPLE:8080"),
        ("{header.x-a|trim}", "a   b"),
        ("{header.x-a|squeeze}", "a b"),
        ("{host|no_port}", "H.example"),
        ("{host|no_default_port}", "H.example:8080"),
        ("{body|size}", "3"),
        ("{method|sha1|hex}", hashlib.sha1(b"POST").hexdigest()),
        ("{method|sha256|hex}", hashlib.sha256(b"POST").hexdigest()),
        ("{method|sha512|hex}", hashlib.sha512(b"POST").hexdigest()),
        ("{method|sm3|hex}", hashlib.new("sm3", b"POST").hexdigest()),
        ("{method|swap:O.-}", "P.-ST"),
        ("{method|md5|HEX}", hashlib.md5(b"POST").hexdigest().upper()),
        ("{digest|HEX}", "01FE"),
        ("{digest|base64}", "Af4="),
        ("{body|base64url}", "_3t9"),
        ("{digest|base64|unbase64|hex}", "01fe"),
        ("{digest|base64|percent}", "Af4%3D"),
    ],
)
def test_filter_returns(source: str, made: str):
    assert value(source) == made


def test_every_filter_has_an_example_above():
    (mark,) = (mark for mark in test_filter_returns.pytestmark if mark.name == "parametrize")
    used = {name.partition(":")[0] for source, _ in mark.args[1] for name in source.strip("{}").split("|")[1:]}

    assert used == set(FILTERS)


@pytest.mark.parametrize(
    ("source", "what", "hint"),
    [
        pytest.param("{boddy}", "unknown name 'boddy'", "did you mean 'body'?", id="unknown name"),
        pytest.param("{body|sha265}", "unknown filter 'sha265'", "did you mean 'sha256'?", id="unknown filter"),
        pytest.param("{body", "'{body' has an unmatched brace", "", id="open brace"),
        pytest.param("a}", "'a}' has an unmatched brace", "", id="closing brace"),
        pytest.param("{}", "unknown name ''", "", id="empty braces"),
        pytest.param(
            "{body|lower}", "{body|lower}: 'lower' does not take bytes", "hash text", id="text filter of bytes"
        ),
        pytest.param("{digest|sha1}", "'sha1' does not take a digest", "encode a digest", id="hash of a digest"),
        pytest.param("{digest|size}", "'size' does not take a digest", "", id="size of a digest"),
        pytest.param("{body|hex:2}", "the filter 'hex' takes no argument", "", id="needless argument"),
        pytest.param("a{digest}", "'a{digest}' joins a digest to text", "{…|hex} or {…|base64}", id="digest in text"),
        pytest.param("{body}{digest}", "joins a digest to text", "", id="digest beside bytes"),
    ],
)
def test_template_error_is_found_at_load(source: str, what: str, hint: str):
    with pytest.raises(RecipeError) as caught:
        compile_template(source, KINDS)

    assert what in caught.value.what
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", "/"), ("", "/"), ("/a/./b", "/a/b"), ("/../a", "/a"), ("/a/..", "/"), ("/a/b/..", "/a/"), ("/a/.", "/a/")],
)
def test_dots_follow_the_rfc(path: str, clean: str):
    assert compile_template("{path|dots}", KINDS).value({"path": path}) == clean
