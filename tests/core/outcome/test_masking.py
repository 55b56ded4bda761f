import pytest

from gateway.core.http.request import Secret
from gateway.core.outcome.masking import mask_outcome, mask_secrets
from gateway.core.outcome.outcome import Code, Outcome, Reason, RejectedItem


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


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        pytest.param("key s3cret?", "key ***?", id="once"),
        pytest.param("s3cret s3cret", "*** ***", id="twice"),
        pytest.param("the key was s3cre", "the key was ***", id="cut off within the secret"),
        pytest.param("no key at all", "no key at all", id="none"),
    ],
)
def test_secrets_in_messages_are_masked(message: str, shown: str):
    outcome = Outcome(Code.INTERNAL, Reason.INTERNAL, message, rejected=(RejectedItem(0, Reason.INTERNAL, message),))

    masked = mask_outcome(outcome, [Secret("s3cret"), Secret("")])

    assert (masked.message, masked.rejected[0].message) == (shown, shown)
