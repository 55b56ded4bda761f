"""Different requests with the same signature by the vendor's rules; docs/security.md lists each."""

from collections.abc import Mapping

import pytest

from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.outcome import Reason
from tests.core.recipe.samples import Call, plain_call, plain_credential, signed
from tests.core.recipe.vectors import RECIPES, ROOT

# The signed query, and others with the same signature.
QUERIES: Mapping[str, tuple[str, list[str]]] = {
    "jdcloud3": ("a=1&b=2", ["a=1&b=2&bare", "a=1&b=2&=nameless"]),
    "tencent-v1": ("a_b=1&c=2", ["a.b=1&c=2", "a_b=1%26c%3D2"]),
    "tencent-v1-sha256": ("a_b=1&c=2", ["a.b=1&c=2", "a_b=1%26c%3D2"]),
    "aliyun-metrichub": ("a=1&b=2", ["a=1%26b%3D2"]),
}
# Query and form are signed together, so a parameter may be in either.
SIGNED_AS_ONE = ["aliyun-rpc-v1", "tencent-v1", "tencent-v1-sha256"]


def with_query(call: Call, old: str, new: str) -> Call:
    assert old in call.request.target
    return call.changed(target=call.request.target.replace(old, new))


@pytest.mark.parametrize(
    ("name", "query", "other"),
    [(name, query, other) for name, (query, others) in QUERIES.items() for other in others],
)
def test_two_queries_have_one_signature(name: str, query: str, other: str) -> None:
    pairs = tuple(tuple(pair.split("=")) for pair in query.split("&"))
    call = plain_call(name, query=pairs)

    collided = with_query(call, query, other)

    assert collided.message.query != call.message.query
    assert collided.rejection() is None
    assert with_query(call, query, f"{query}3").rejection() is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("name", SIGNED_AS_ONE)
def test_a_field_of_the_form_may_move_into_the_query(name: str) -> None:
    recipe = RECIPES[name]
    draft = UnsignedRequest("POST", "http", "h", "/", (("a", "1"),), (), "form", (("m", "cpu"), ("v", "1")))
    call = signed(draft, recipe, plain_credential(recipe), {})

    moved = call.changed(body=call.request.body.replace(b"m=cpu&", b""), target=f"{call.request.target}&m=cpu")

    assert moved.message.form != call.message.form
    assert moved.rejection() is None


@pytest.mark.parametrize("path", ["/v1/a/b", "/v1/a%2Fb", "/v1//a/b"])
def test_jdcloud3_decodes_the_path_and_joins_its_slashes(path: str) -> None:
    call = plain_call("jdcloud3", path="/v1/a//b")

    assert call.changed(target=call.request.target.replace("/v1/a//b", path)).rejection() is None


@pytest.mark.parametrize("name", sorted({*QUERIES, *SIGNED_AS_ONE}))
def test_the_security_page_lists_the_recipe(name: str) -> None:
    text = (ROOT / "docs" / "security.md").read_text()

    assert f"`{name}`" in text.partition("## Requests that share a signature\n")[2].partition("\n## ")[0]
