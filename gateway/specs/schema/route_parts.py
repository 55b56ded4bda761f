"""What building either side of a route needs: providers by name, credentials, rules, URLs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import KeyPath
from gateway.core.http.request import PublicUrl
from gateway.core.http.url import split_url
from gateway.core.points.rules import Rule
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import GivenSlot, KeySlot, Recipe
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.specs.schema.models import CredentialSpec, RuleSpec
from gateway.specs.schema.receive import captures
from gateway.specs.schema.rule import build_rule
from gateway.specs.yaml.document import Document

MIN_SECRET_CHARS = 4


@dataclass(frozen=True, slots=True)
class RouteParts:
    """Resolves parts of one route. `at` is always the key path of what is resolved."""

    document: Document
    providers: Mapping[str, Provider]
    compiler: Compiler

    def provider(self, name: str, at: KeyPath) -> Provider | None:
        provider = self.providers.get(name)
        if provider is None:
            self.document.unknown((*at, "provider"), "provider", name, self.providers)
        return provider

    def check_given(self, given: Mapping[str, Any], provider: Provider, recipes: Iterable[Recipe], at: KeyPath) -> None:
        """Report each given that nothing in the provider reads."""
        slots = {name for recipe in recipes for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot)}
        forms = provider.receive.requests if provider.receive else ()
        known = {*provider.given, *provider.needs, *slots, *(name for form in forms for name in captures(form.path))}
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known)
                self.document.error((*at, "given", name), f"nothing in {provider.name} reads `given.{name}`", hint)

    def rules(self, provider: Provider, specs: Mapping[Any, RuleSpec], at: KeyPath) -> tuple[Rule, ...]:
        """Return the provider's rules, each key that the route states in the place of the provider's."""
        rules = dict(provider.rules)
        for field, spec in specs.items():
            own = build_rule(field, spec, self.compiler, self.document, (*at, field))
            stated = {name: getattr(own, name) for name in spec.model_fields_set}
            rules[field] = replace(rules[field], **stated) if field in rules else own
        return tuple(rules.values())

    def unserved(self, credential: CredentialSpec, recipes: Iterable[Recipe], at: KeyPath) -> None:
        """Report a credential that none of the recipes can use."""
        by_name = {recipe.name: recipe for recipe in recipes}
        names = ", ".join(by_name) or "no recipe"
        if credential.recipe in by_name:
            takes = "takes a key: add `key:`" if credential.key is None else "takes no key: leave `key:` out"
            self.document.error((*at, "recipe"), f"{credential.recipe} {takes}")
        elif credential.recipe is not None:
            self.document.error((*at, "recipe"), f"{credential.recipe!r} is not among {names}")
        elif credential.key is None:
            self.document.error(at, f"a secret without a key serves none of {names}", "add `key:`")
        else:
            self.document.error(at, f"a key with a secret serves none of {names}", "leave `key:` out")

    def url(self, url: str, at: KeyPath) -> PublicUrl | None:
        try:
            return split_url(url)
        except ValueError as error:
            self.document.error(at, str(error))
            return None


def serves(credential: CredentialSpec, recipe: Recipe) -> bool:
    """Tell whether the credential fills exactly the slots of the recipe."""
    return to_credential(credential).serves(recipe)


def to_credential(spec: CredentialSpec) -> Credential:
    return Credential(spec.secret, spec.key, spec.recipe)


def check_length(parts: RouteParts, credential: CredentialSpec, at: KeyPath) -> None:
    """Warn of a secret that stands in many texts by chance: masking it hides these texts."""
    if len(credential.secret.reveal()) < MIN_SECRET_CHARS:
        what = (
            f"a secret of fewer than {MIN_SECRET_CHARS} characters is easily guessed, and masking it hides other text"
        )
        parts.document.warning((*at, "secret"), what, "use a longer one")


def check_chars(parts: RouteParts, credential: CredentialSpec, recipe: Recipe, at: KeyPath) -> None:
    """Report a credential whose characters no carrier of the recipe could hold: it would never be verified."""
    for slot in to_credential(credential).misfits(recipe):
        part = "key" if isinstance(slot, KeySlot) else "secret"
        parts.document.error((*at, part), f"{recipe.name} takes {part}s of the form {slot.chars}")
