"""The recipes in the package: which there are, and that each accepts and makes what its vectors hold."""

import pytest

from gateway.core.recipe.model import Recipe
from gateway.proof.vectors import Vector, run_vector
from gateway.specs.load import load

SPECS = load(None, {})
NAMES = [
    *("aliyun-acs3", "aliyun-metrichub", "aliyun-rpc-v1", "api-key", "aws-sigv4", "basic", "bearer"),
    *("huawei-login", "huawei-sdk-hmac-sha256", "huawei-token", "huawei-v11", "jdcloud2", "jdcloud3", "oci-cavage"),
    *("scp", "tencent-receiver", "tencent-tc3", "tencent-v1", "tencent-v1-sha256"),
    *("zstack-access-key", "zstack-login", "zstack-login-old", "zstack-session"),
]
# Nobody outside has published a signed call, and there is no signer of the vendor's to install.
ONLY_OURS = {"aliyun-metrichub"}


def test_documentation_names_the_shipped_recipes() -> None:
    assert sorted(SPECS.recipes) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_has_at_least_two_vectors(name: str) -> None:
    assert len(vectors_of(name)) >= 2


@pytest.mark.parametrize("name", sorted({*NAMES} - ONLY_OURS))
def test_shipped_recipe_has_an_independent_vector(name: str) -> None:
    assert any(not vector.source.startswith("made by us") for vector in vectors_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_vector_names_of_a_recipe_are_unique(name: str) -> None:
    names = [vector.name for vector in vectors_of(name)]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("recipe", "vector"),
    [placed[:2] for placed in SPECS.vectors],
    ids=[f"{placed.recipe.name}-{placed.vector.name}" for placed in SPECS.vectors],
)
def test_a_shipped_vector_is_accepted_and_signed_again(recipe: Recipe, vector: Vector) -> None:
    assert run_vector(recipe, vector) == []


def vectors_of(name: str) -> list[Vector]:
    return [vector for recipe, vector, _ in SPECS.vectors if recipe.name == name]
