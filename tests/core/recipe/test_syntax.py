import base64

import pytest

from gateway.core.recipe.filters import Kind
from gateway.core.recipe.syntax import (
    Base64Syntax,
    ParamsSyntax,
    RecipeError,
    TextSyntax,
    compile_syntax,
    compile_template,
)

CHARS = {"key": r"[^\s,/:;]+", "region": "[a-z]+", "signature": "[A-Za-z0-9+/=]+"}


def value(source: str, **chars: str) -> TextSyntax:
    known = CHARS | chars
    return compile_syntax(compile_template(source, dict.fromkeys([*known, "method"], Kind.TEXT)), known)


@pytest.mark.parametrize(
    ("source", "text", "slots"),
    [
        pytest.param("{key}", "K1", {"key": "K1"}, id="one slot"),
        pytest.param("{key}", "", None, id="an empty slot"),
        pytest.param("{key}", "K 1", None, id="a character that the slot has not"),
        pytest.param("ZStack {key}:{signature}", "ZStack K:a+/=", {"key": "K", "signature": "a+/="}, id="two slots"),
        pytest.param("ZStack {key}:{signature}", "ZStack   K:a", {"key": "K", "signature": "a"}, id="a run of spaces"),
        pytest.param("ZStack {key}:{signature}", "zstack K:a", None, id="a literal in other case"),
        pytest.param("ZStack {key}:{signature}", "ZStack K:a:b", None, id="something behind it"),
        pytest.param("{key}/{region}/{key}", "K/sh/K", {"key": "K", "region": "sh"}, id="the same slot twice"),
        pytest.param("{key}/{region}/{key}", "K/sh/L", None, id="the same slot with two texts"),
        pytest.param("a.b {key}", "axb K", None, id="no literal is a pattern"),
    ],
)
def test_value_is_read_by_its_template(source: str, text: str, slots: dict[str, str] | None):
    assert value(source).read(text) == slots


def test_value_reads_what_it_wrote():
    form = value("ACME {key}/{region}, Signature={signature}")
    slots = {"key": "K", "region": "sh", "signature": "a+/="}

    text = form.write(slots)

    assert text == "ACME K/sh, Signature=a+/="
    assert form.read(text) == slots


@pytest.mark.parametrize(
    ("source", "what"),
    [
        pytest.param("{region}{key}", "the end of {region} is ambiguous", id="two slots side by side"),
        pytest.param("{region}x{key}", "the end of {region} is ambiguous", id="a divider that the slot may hold"),
        pytest.param("{key|lower}", "a carrier takes slots without filters, and {key} has a filter", id="a filter"),
        pytest.param("{method}", "a carrier takes only slots, and 'method' is not a slot", id="no slot"),
    ],
)
def test_ambiguous_syntax_is_rejected_at_load(source: str, what: str):
    with pytest.raises(RecipeError) as caught:
        value(source)

    assert caught.value.what == what


def test_chars_of_a_slot_make_its_end_unambiguous():
    assert value("{key}x{region}", key="[0-9]+").read("17xsh") == {"key": "17", "region": "sh"}


def params(*, sep: str = ", ", quote: bool = False) -> ParamsSyntax:
    forms = {"Credential": value("{key}/{region}"), "Version": value("1"), "Signature": value("{signature}")}
    return ParamsSyntax("ACME", forms, sep, quote)


SLOTS = {"key": "K", "region": "sh", "signature": "ab="}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        pytest.param(params(), "ACME Credential=K/sh, Version=1, Signature=ab=", id="plain"),
        pytest.param(params(sep=",", quote=True), 'ACME Credential="K/sh",Version="1",Signature="ab="', id="in quotes"),
        pytest.param(params(sep="; "), "ACME Credential=K/sh; Version=1; Signature=ab=", id="another divider"),
    ],
)
def test_params_are_written_in_order_and_read_again(form: ParamsSyntax, text: str):
    assert form.write(SLOTS) == text
    assert form.read(text) == SLOTS


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ACME Signature=ab=, Version=1, Credential=K/sh", id="in another order"),
        pytest.param("ACME Credential=K/sh, Signature=ab=", id="a literal left out"),
        pytest.param("ACME Credential=K/sh,Signature=ab=", id="no spaces"),
        pytest.param("ACME \tCredential=K/sh  ,  Signature=ab= ", id="more spaces"),
        pytest.param('ACME Credential="K/sh", Signature="ab="', id="quoted"),
    ],
)
def test_params_are_read_in_other_notations(text: str):
    assert params().read(text) == SLOTS


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ACME Signature=ab=", id="a slot is missing"),
        pytest.param("ACME Credential=K/sh, Signature=ab=, Extra=1", id="one is unknown"),
        pytest.param("ACME Credential=K/sh, Signature=ab=, Signature=ab=", id="one repeated"),
        pytest.param("ACME Credential=K/sh, Signature=ab=, Version=2", id="another literal"),
        pytest.param("ACME credential=K/sh, Signature=ab=", id="a name in other case"),
        pytest.param("ACME Credential=K, Signature=ab=", id="a value that does not fit"),
        pytest.param('ACME Credential="K/sh, Signature=ab=', id="a quote that is not closed"),
        pytest.param("ACME Credential=K/sh, Signature", id="no pair"),
        pytest.param("OTHER Credential=K/sh, Signature=ab=", id="another scheme"),
        pytest.param("ACMECredential=K/sh, Signature=ab=", id="no space behind the scheme"),
        pytest.param("ACME", id="the scheme alone"),
    ],
)
def test_params_that_do_not_match_are_not_read(text: str):
    assert params().read(text) is None


def test_separator_within_quotes_is_text():
    form = ParamsSyntax("ACME", {"keyId": value("{key}", key='[^"]+'), "s": value("{signature}")}, ",", True)

    assert form.read('ACME keyId="a,b",s="ab"') == {"key": "a,b", "signature": "ab"}


def test_slot_in_two_parameters_must_agree():
    form = ParamsSyntax("ACME", {"a": value("{key}"), "b": value("{key}")}, ",", False)

    assert form.read("ACME a=K,b=K") == {"key": "K"}
    assert form.read("ACME a=K,b=L") is None


BASIC = Base64Syntax("Basic", value("{key}:{secret}", secret=".*"))


def encoded(text: bytes) -> str:
    return f"Basic {base64.b64encode(text).decode()}"


def test_base64_value_is_read_as_it_was_written():
    slots = {"key": "K", "secret": "pä:ß"}

    assert BASIC.write(slots) == encoded("K:pä:ß".encode())
    assert BASIC.read(BASIC.write(slots)) == slots


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Basic !!!!", id="not base64"),
        pytest.param("Basic SzpwYXM", id="base64 without its pad"),
        pytest.param(encoded(b"K:\xff"), id="not UTF-8"),
        pytest.param(encoded(b"K"), id="another form within"),
        pytest.param(encoded(b"K:p").replace("Basic", "Bearer"), id="another scheme"),
        pytest.param(encoded(b"K:p").replace(" ", ""), id="no space"),
        pytest.param("Basic", id="the scheme alone"),
    ],
)
def test_base64_value_that_does_not_match_is_not_read(text: str):
    assert BASIC.read(text) is None
