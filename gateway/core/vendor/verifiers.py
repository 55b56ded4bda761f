"""Build one verifier per recipe from the credentials of a route."""

from collections.abc import Iterable, Mapping, Sequence

from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.session_tokens import make_accounts
from gateway.core.recipe.verify import Verifier
from gateway.core.vendor.provider import Receive


def make_verifiers(
    receive: Receive, recipes: Iterable[Recipe], credentials: Sequence[Credential], pins: Mapping[str, str]
) -> tuple[Verifier, ...]:
    """Return a verifier for each recipe that a credential serves, or that carries a session issued by the gateway."""
    verifiers = []
    local_calls = [form.local_call for form in receive.requests if form.local_call is not None]
    for recipe in recipes:
        fitting = [each for each in credentials if each.serves(recipe)]
        calls = [call for call in local_calls if call.issues == recipe.name]
        verifying = [login for call in calls for login in call.verify]
        accounts = [each for each in credentials if any(each.serves(login) for login in verifying)]
        if fitting or accounts:
            lifetime_s = max((call.lifetime_s for call in calls), default=0)
            verifiers.append(Verifier(recipe, make_keyring(fitting), pins, make_accounts(accounts, lifetime_s)))
    return tuple(verifiers)


def local_verifiers(
    receive: Receive, credentials: Sequence[Credential] | None, pins: Mapping[str, str]
) -> dict[str, tuple[Verifier, ...] | None]:
    """Return the verifiers of each local call by its name, None if it accepts any caller.

    None for `credentials` makes every call accept any caller.
    """
    calls = {form.name: form.local_call.verify for form in receive.requests if form.local_call is not None}
    return {
        name: make_verifiers(receive, verify, credentials, pins) if verify and credentials is not None else None
        for name, verify in calls.items()
    }
