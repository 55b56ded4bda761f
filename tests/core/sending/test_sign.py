from dataclasses import replace

import pytest

from gateway.core.http.request import PublicUrl, Request
from gateway.core.recipe.sign import SigningContext
from gateway.core.sending.sign import poll_recipe, poll_request, sign_call
from gateway.core.vendor.route import Target
from tests.support.specs import recipe, stand_in


def target(sign: str) -> Target:
    return stand_in(f"""
provider: acme
send:
  item: metric
  request: {{method: POST, path: /in, json: items}}
  sign: session
  poll: {{every_s: 1, {sign}}}
  outcome: [{{status: 202, poll: body.job}}]
""").target


def test_poll_request_is_a_get_of_the_path_on_the_targets_host():
    there = replace(target("sign: none"), url=PublicUrl("https", "target.example", "/base"))

    question = poll_request(there, "/jobs?id=a%20b").render()

    assert question == Request("GET", "/jobs?id=a%20b", (("Host", "target.example"),), scheme="https")


def test_signature_in_the_query_joins_the_query_of_the_path():
    by_query = recipe("recipe: q\nslots: {token: {kind: secret}}\ncarry: [{query: token, value: '{token}'}]")

    signed = sign_call(target(""), by_query, poll_request(target(""), "/jobs?id=a%20b"), SigningContext(0, b""))

    assert signed.request.target == "/jobs?id=a%20b&token=case-secret"


@pytest.mark.parametrize(
    ("sign", "name"),
    [("", "session"), ("sign: none", None), ("sign: session", "session")],
    ids=["own", "none", "named"],
)
def test_poll_request_is_signed_by_the_recipe_of_the_provider(sign: str, name: str | None):
    signs = poll_recipe(target(sign))

    assert (signs.name if signs else None) == name
