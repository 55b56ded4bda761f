"""A recipe verifies every request that it signs, and detects every change to a signed part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.model import Recipe
from tests.core.recipe.changes import changed_calls
from tests.core.recipe.samples import calls, few, signed
from tests.core.recipe.vectors import RECIPES, secret

every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
SIGNING = [recipe for recipe in RECIPES.values() if recipe.signature is not None and recipe.signature.method != "hash"]
every_signing_recipe = pytest.mark.parametrize("recipe", SIGNING, ids=[recipe.name for recipe in SIGNING])


@every_recipe
@few
@given(data=st.data())
def test_key_verifies_what_it_signs(recipe: Recipe, data: st.DataObject) -> None:
    call = data.draw(calls(recipe))

    assert call.rejection() is None


@every_signing_recipe
@few
@given(data=st.data())
def test_changing_a_signed_part_breaks_the_signature(recipe: Recipe, data: st.DataObject) -> None:
    call = data.draw(calls(recipe))

    changed = data.draw(changed_calls(call))

    assert changed.rejection() is not None


@pytest.mark.parametrize("name", ["huawei-login", "basic"])
def test_spaces_around_a_password_are_part_of_it(name: str) -> None:
    draft = UnsignedRequest("POST", "https", "iam.example", "/v3/auth/tokens", body_kind="json", body={})

    call = signed(draft, RECIPES[name], secret(" pass word ", "user"), {})

    assert call.rejection() is None
    assert call.rejection(secret("pass word", "user")) is Reason.BAD_SIGNATURE
