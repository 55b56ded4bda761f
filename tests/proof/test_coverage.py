import pytest

from gateway.proof.coverage import PARTS, coverage
from tests.core.recipe.vectors import RECIPES
from tests.support.specs import recipe

BODIES = {"json body", "form body", "text body"}


@pytest.mark.parametrize(
    ("name", "protected"),
    [
        pytest.param("bearer", set(), id="bearer"),
        pytest.param("tencent-receiver", {"method", "path"}, id="tencent-receiver"),
        pytest.param("scp", {"method", "path", "query", "host"}, id="scp"),
        pytest.param("aliyun-rpc-v1", {"method", "query", "form body"}, id="aliyun-rpc-v1"),
        pytest.param("aws-sigv4", {"method", "path", "query", "host", "content-type", *BODIES}, id="aws-sigv4"),
    ],
)
def test_recipe_protects_these_parts(name: str, protected: set[str]):
    found = coverage(RECIPES[name])

    assert tuple(found) == PARTS
    assert {part for part, is_protected in found.items() if is_protected} == protected


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        pytest.param("aliyun-rpc-v1", set(), id="none in the body"),
        pytest.param("tencent-receiver", {"text body"}, id="parameters"),
        pytest.param("huawei-login", {"form body", "text body"}, id="members of JSON"),
    ],
)
def test_body_that_the_scheme_cannot_sign_has_no_verdict(name: str, parts: set[str]):
    assert {part for part, protected in coverage(RECIPES[name]).items() if protected is None} == parts


@pytest.mark.parametrize(
    ("of", "protected"),
    [("{body}", BODIES), ("{header.x-other}", {"another header"}), ("{header.content-type}", {"content-type"})],
    ids=["the body", "a header", "the content type"],
)
def test_only_the_signed_part_is_protected(of: str, protected: set[str]):
    signing = recipe(f"""
recipe: acme
slots: {{key: {{kind: key}}, signature: {{kind: signature, of: "{of}", hmac: sha256, key: "{{secret}}", as: hex}}}}
carry: [{{header: x-key, value: "{{key}}"}}, {{header: x-signature, value: "{{signature}}"}}]
""")

    assert {part for part, is_protected in coverage(signing).items() if is_protected} == protected
