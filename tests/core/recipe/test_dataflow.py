import pytest

from tests.core.recipe.vectors import RECIPES

URL = {"scheme", "host", "path", "query"}
TARGET = {"method", "path", "query"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        pytest.param("zstack-session", set(), id="a lone secret signs nothing"),
        pytest.param("zstack-login", set(), id="a hash of the password alone signs nothing"),
        pytest.param("zstack-access-key", {"method", "path"}, id="method and path"),
        pytest.param("tencent-receiver", {"method", "path"}, id="a literal in the host's place covers no host"),
        pytest.param("scp", {"method", *URL}, id="the whole URL"),
        pytest.param("aliyun-rpc-v1", {"method", "query", "form"}, id="a form, and no other body"),
        pytest.param(
            "aws-sigv4",
            {*TARGET, "host", "body", "header.host", "header.x-amz-date"},
            id="headers that must be listed, and what a digest is of",
        ),
        pytest.param(
            "oci-cavage",
            {*TARGET, "host", "body", "header.(request-target)", "header.date", "header.host"}
            | {"header.x-content-sha256"},
            id="the body through a header that must be listed",
        ),
    ],
)
def test_recipe_signs_these_parts(name: str, parts: set[str]):
    assert RECIPES[name].signed == parts


@pytest.mark.parametrize(
    ("name", "unsigned"),
    [
        pytest.param("aws-sigv4", set(), id="the bytes of any body"),
        pytest.param("aliyun-rpc-v1", {"json", "text"}, id="a form"),
        pytest.param("tencent-receiver", {"form", "json", "query", "text"}, id="parameters by name"),
    ],
)
def test_recipe_leaves_these_parts_unsigned(name: str, unsigned: set[str]):
    assert RECIPES[name].leaves_unsigned({"form", "json", "query", "text"}) == unsigned


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        pytest.param("zstack-session", {"session"}, id="a secret that travels"),
        pytest.param("basic", {"password"}, id="a secret beside its key"),
        pytest.param("scp", set(), id="a secret that is only the key of an HMAC"),
        pytest.param("tencent-receiver", set(), id="the same, over pairs"),
        pytest.param("aws-sigv4", {"signing_key"}, id="a key derived from it"),
        pytest.param("oci-cavage", set(), id="a private key"),
    ],
)
def test_these_names_depend_on_the_secret(name: str, masked: set[str]):
    assert RECIPES[name].masked == masked
