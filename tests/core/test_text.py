import pytest

from gateway.core.text import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        pytest.param("time_sn", ["unit", "time_ns"], "did you mean 'time_ns'?", id="swapped letters"),
        pytest.param("POST", ["get", "post"], "did you mean 'post'?", id="other case"),
        pytest.param("qqq", ["zeta", "acme"], "known: acme, zeta", id="nothing close"),
        pytest.param("qqq", [], "", id="nothing known"),
        pytest.param("!", "abcdefghijklm", "known: a, b, c, d, e, f, g, h, i, j, k, l, …", id="many known"),
    ],
)
def test_hint_names_similar_or_known_words(word: str, known: list[str], hint: str):
    assert did_you_mean(word, known) == hint
