"""Signs a call for a target, by the recipe and with the credential that its route has."""

from gateway.core.draft import Draft
from gateway.core.recipe.sign import Fresh, Signed, sign
from gateway.core.route import Target


def sign_call(target: Target, draft: Draft, fresh: Fresh) -> Signed:
    """Sign a call; without a recipe it goes as it is. Raises SpecError."""
    if target.recipe is None or target.credential is None:
        return Signed.unsigned(draft)
    given = {name: str(value) for name, value in target.given.items()}
    return sign(draft, target.recipe, target.credential, given, fresh)
