import pytest

from gateway.core.recipe.coverage import PARTS, coverage
from tests.built import recipe
from tests.core.recipe.vectors import RECIPES


@pytest.mark.parametrize(
    ("name", "protected"),
    [
        pytest.param("bearer", set(), id="bearer"),
        pytest.param("tencent-receiver", {"method", "path"}, id="tencent-receiver"),
        pytest.param("scp", {"method", "path", "query", "host"}, id="scp"),
        pytest.param("aws-sigv4", {"method", "path", "query", "host", "content-type", "body"}, id="aws-sigv4"),
    ],
)
def test_recipe_protects_these_parts(name: str, protected: set[str]):
    found = coverage(RECIPES[name])

    assert tuple(each.part for each in found) == PARTS
    assert {each.part for each in found if each.protected} == protected


@pytest.mark.parametrize(
    ("of", "protected"),
    [("{body}", {"body"}), ("{header.x-other}", {"another header"}), ("{header.content-type}", {"content-type"})],
    ids=["the body", "a header", "the content type"],
)
def test_part_that_is_signed_alone_is_protected_alone(of: str, protected: set[str]):
    signing = recipe(f"""
recipe: acme
slots: {{key: {{kind: key}}, signature: {{kind: signature, of: "{of}", hmac: sha256, key: "{{secret}}", as: hex}}}}
carry: [{{header: x-key, value: "{{key}}"}}, {{header: x-signature, value: "{{signature}}"}}]
""")

    assert {each.part for each in coverage(signing) if each.protected} == protected
