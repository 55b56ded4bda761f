"""Whatever a recipe signs it verifies, and nothing that the signature covers can be changed on the way."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.recipe.model import Recipe
from tests.core.recipe.samples import calls
from tests.core.recipe.vectors import RECIPES

every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@every_recipe
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_it_signs_it_verifies(recipe: Recipe, data: st.DataObject) -> None:
    call = data.draw(calls(recipe))

    assert call.refusal() is None
