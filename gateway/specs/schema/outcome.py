"""From the YAML of `outcome` to the rules that judge answers."""

from collections.abc import Sequence

from gateway.core.expression.compiler import KeyPath
from gateway.core.outcome.outcome import Code
from gateway.core.vendor.provider import OutcomeRule, RejectedItemsRule
from gateway.specs.schema.models import OutcomeRuleSpec, RejectedSpec
from gateway.specs.schema.parts import ANSWER, Parts


def build_outcome(parts: Parts, specs: Sequence[OutcomeRuleSpec], at: KeyPath) -> tuple[OutcomeRule, ...]:
    """Return the rules of the list that stands at `at`."""
    return tuple(_rule(parts, spec, (*at, index)) for index, spec in enumerate(specs))


def _rule(parts: Parts, spec: OutcomeRuleSpec, at: KeyPath) -> OutcomeRule:
    if sum(each is not None for each in (spec.code, spec.of, spec.poll)) > 1:
        parts.document.error(at, "a rule has one of `code`, `of` and `poll`")
    if bool(spec.codes) != (spec.of is not None):
        parts.document.error(at, "`of` and `codes` belong together")
    exact: dict[str, Code] = {}
    prefixes: list[tuple[str, Code]] = []
    for code, words in spec.codes.items():
        for word in map(str, words):
            if word.endswith("*"):
                prefixes.append((word[:-1], code))
            elif exact.setdefault(word, code) is not code:
                parts.document.error((*at, "codes", code), f"{word!r} stands under {exact[word]} too")
    return OutcomeRule(
        frozenset(spec.status),
        parts.condition(spec.when, ANSWER, (*at, "when")),
        spec.code,
        parts.optional(spec.of, ANSWER, (*at, "of")),
        exact,
        tuple(sorted(prefixes, key=lambda prefix: -len(prefix[0]))),
        parts.optional(spec.poll, ANSWER, (*at, "poll")),
        parts.optional(spec.message, ANSWER, (*at, "message")),
        None if spec.rejected is None else _rejected(parts, spec.rejected, (*at, "rejected")),
        spec.on_failure,
    )


def _rejected(parts: Parts, spec: RejectedSpec, at: KeyPath) -> RejectedItemsRule:
    if (spec.index is None) == (spec.same is None):
        parts.document.error(at, "the items that were refused are known by `index` or by `same`")
    return RejectedItemsRule(
        parts.compiler.expression(spec.each, ANSWER, (*at, "each")),
        parts.optional(spec.index, None, (*at, "index")),
        parts.optional(spec.same, None, (*at, "same")),
        parts.optional(spec.message, None, (*at, "message")),
    )
