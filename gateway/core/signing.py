"""Signs a call for a target, by the recipe and with the credential that its route has."""

from gateway.core.draft import Draft
from gateway.core.model import Secret
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.sign import Fresh, Signed, sign
from gateway.core.route import Target

# Stands in for a session where only the size of a call is asked for, or what it would look like.
NO_SESSION = Secret("0" * 32)


def sign_call(target: Target, draft: Draft, fresh: Fresh, session: Secret | None = None) -> Signed:
    """Sign a call; without a recipe it goes as it is. `session` is what logging in gave, for a target with a login.

    Raises SpecError.
    """
    if target.recipe is None or target.credential is None:
        return Signed.unsigned(draft)
    credential = target.credential if target.login is None else Credential(session or NO_SESSION)
    given = {name: str(value) for name, value in target.given.items()}
    return sign(draft, target.recipe, credential, given, fresh)
