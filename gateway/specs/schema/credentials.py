"""The keys of a credential, and whether recipes can use it."""

from collections.abc import Iterable

from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import KeySlot, Recipe
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table, optional

MIN_SECRET_CHARS = 4


def _check_secret(at: Place, credential: Credential) -> None:
    if len(credential.secret.reveal()) < MIN_SECRET_CHARS:
        what = f"a secret of fewer than {MIN_SECRET_CHARS} characters is easy to guess, and masking it hides other text"
        at.warning(what, "use a longer one", "secret")


CREDENTIAL = Table(
    "credential",
    Credential,
    optional("key", t.NOT_EMPTY, "the key id, if the scheme has one"),
    Key("secret", t.SECRET, "the secret, password or session", secret=True),
    optional("recipe", t.TEXT, "restricts the credential to one recipe"),
    check=_check_secret,
)


def report_unserved(at: Place, credential: Credential, recipes: Iterable[Recipe]) -> None:
    """Report a credential that none of the recipes can use."""
    by_name = {recipe.name: recipe for recipe in recipes}
    names = ", ".join(by_name) or "any recipe"
    if credential.recipe in by_name:
        takes = "takes a key: add `key:`" if credential.key is None else "takes no key: leave `key:` out"
        at.error(f"{credential.recipe} {takes}", "", "recipe")
    elif credential.recipe is not None:
        at.error(f"{credential.recipe!r} is not among {names}", "", "recipe")
    elif credential.key is None:
        at.error(f"a secret without a key does not fit {names}", "add `key:`")
    else:
        at.error(f"a key with a secret does not fit {names}", "leave `key:` out")


def check_chars(at: Place, credential: Credential, recipe: Recipe) -> None:
    """Report a credential with characters that the recipe's carriers cannot hold: it could never be verified."""
    for slot in credential.misfits(recipe):
        part = "key" if isinstance(slot, KeySlot) else "secret"
        at.error(f"{recipe.name} takes {part}s of the form {slot.chars}", "", part)
