"""From the YAML of one rule to the rule."""

import re
from collections.abc import Mapping
from typing import Any

from gateway.core.expression import Compiler, Expression
from gateway.core.expression.compiler import KeyPath
from gateway.core.points.decode import FIELD_READERS
from gateway.core.points.rules import Rule
from gateway.specs.schema.models import RuleSpec
from gateway.specs.schema.parts import POINT
from gateway.specs.yaml.document import Document


def build_rule(field: str, spec: RuleSpec, compiler: Compiler, document: Document, at: KeyPath) -> Rule:
    """Return one rule; `at` is where it stands in the document."""
    names = spec.keys if isinstance(spec.keys, list) else None
    pattern = spec.keys if isinstance(spec.keys, str) else None
    return Rule(
        field=field,
        required=spec.required,
        pattern=_pattern(spec.pattern, document, (*at, "pattern")),
        max_chars=spec.max_chars,
        max_bytes=spec.max_bytes,
        min=spec.min,
        max=spec.max,
        keys=frozenset(names) if names is not None else _pattern(pattern, document, (*at, "keys")),
        integer=spec.integer,
        max_age_s=spec.max_age_s,
        max_ahead_s=spec.max_ahead_s,
        else_=spec.else_,
        fix=None if spec.fix is None else _fix(field, compiler.expression(spec.fix, POINT, (*at, "fix"))),
    )


def _fix(field: str, expression: Expression) -> Expression:
    """Read what the expression gives as that field is read everywhere else."""

    def fix(scope: Mapping[str, Any]) -> Any:
        value = expression(scope)
        return None if value is None else FIELD_READERS[field](value)

    return fix


def _pattern(source: str | None, document: Document, at: KeyPath) -> re.Pattern[str] | None:
    if source is None:
        return None
    try:
        pattern = re.compile(source)
    except re.error as error:
        detail = "" if document.has_variable(at) else f": {error}"
        document.error(at, f"{source!r} is not a pattern{detail}")
        return None
    document.slow_patterns([(at, source)])
    return pattern
