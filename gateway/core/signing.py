"""Signs a call for a target, by the recipe and with the credential that its route has."""

from gateway.core.draft import Draft
from gateway.core.model import Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Fresh, Signed, sign
from gateway.core.route import Target

# Stands in for a session where only the size of a call is asked for, or what it would look like.
NO_SESSION = Secret("0" * 32)


def sign_call(target: Target, draft: Draft, fresh: Fresh, session: Secret | None = None) -> Signed:
    """Sign a report by the target's own recipe. Raises SpecError."""
    return sign_by(target.recipe, target, draft, fresh, session)


def sign_by(recipe: Recipe | None, target: Target, draft: Draft, fresh: Fresh, session: Secret | None = None) -> Signed:
    """Sign any call to a target; without a recipe it goes as it is. Raises SpecError.

    `session` is what logging in gave, for a recipe that carries one.
    """
    if recipe is None or target.credential is None:
        return Signed.unsigned(draft)
    credential = Credential(session or NO_SESSION) if carries_session(target, recipe) else target.credential
    given = {name: str(value) for name, value in target.given.items()}
    return sign(draft, recipe, credential, given, fresh)


def carries_session(target: Target, recipe: Recipe | None) -> bool:
    return target.login is not None and recipe is target.login.for_recipe
