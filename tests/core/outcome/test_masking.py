import pytest

from gateway.core.http.request import Secret
from gateway.core.outcome.masking import mask_secrets


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        pytest.param("the key longsecret is bad", ["longsecret"], "the key *** is bad", id="as it is"),
        pytest.param("xlongsecretx longsecret", ["longsecret"], "x***x ***", id="a long one also within words"),
        pytest.param("abc is no abcd", ["abc"], "*** is no abcd", id="a short one only as a word"),
        pytest.param("seven77 Xseven77", ["seven77"], "*** Xseven77", id="seven characters are short"),
        pytest.param("eight888 Xeight888", ["eight888"], "*** X***", id="eight characters are long"),
        pytest.param("abc=1&k=abc", ["abc"], "***=1&k=***", id="between signs"),
        pytest.param(r'{"k": "a\"b\\c-long"}', ['a"b\\c-long'], '{"k": "***"}', id="as JSON writes it"),
        pytest.param(r'{"k": "p\u00e4ssword"}', ["pässword"], '{"k": "***"}', id="as JSON in ASCII writes it"),
        pytest.param("k=a%2Fb%20c%2Blong", ["a/b c+long"], "k=***", id="as a query writes it"),
        pytest.param("k=a%2Fb+c%2Blong", ["a/b c+long"], "k=***", id="as a form writes it"),
        pytest.param("k=p%C3%A4ssword", ["pässword"], "k=***", id="beyond ASCII"),
        pytest.param("k=%FFsecretly", ["\udcffsecretly"], "k=***", id="what was not UTF-8"),
        pytest.param("longsecret longsecret2", ["longsecret", "longsecret2"], "*** ***", id="one within another"),
        pytest.param("a.c+long and abc+long", ["a.c+long"], "*** and abc+long", id="no secret is a pattern"),
        pytest.param("nothing", [""], "nothing", id="an empty secret"),
        pytest.param("nothing", [], "nothing", id="no secret"),
    ],
)
def test_secrets_are_masked_in_all_encodings(text: str, secrets: list[str], shown: str):
    assert mask_secrets(text, map(Secret, secrets)) == shown
