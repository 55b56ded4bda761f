"""From a route's YAML to a route: its two sides, and what happens to data points between them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import KeyPath
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import PointChanges, Route, Source
from gateway.specs.check.roles import check_sides
from gateway.specs.schema.models import PointsSpec, RouteSpec
from gateway.specs.schema.parts import POINT
from gateway.specs.schema.receive import captures
from gateway.specs.schema.route_parts import RouteParts
from gateway.specs.schema.source import build_source
from gateway.specs.schema.target import build_target
from gateway.specs.yaml.document import Document


def build_route(
    document: Document,
    values: Any,
    providers: Mapping[str, Provider],
    on_value: Callable[[KeyPath], None] | None = None,
) -> tuple[Route, Compiler] | None:
    """Return the route and what compiled it, or None when the document has errors; they are reported.

    `values` are the document's plain values, its variables replaced.
    """
    spec = document.read(RouteSpec, values)
    if spec is None:
        return None
    parts = RouteParts(document, providers, Compiler(on_value))
    source = build_source(parts, spec.receive)
    target = build_target(parts, spec.send, spec.delivery, captured=_captured(source))
    mirrors = [
        build_target(parts, each, each.delivery, name=each.mirror, at=("mirrors", index))
        for index, each in enumerate(spec.mirrors)
    ]
    _check_mirrors(parts, spec)
    points = _points(parts, spec.points)
    if source is not None and target is not None:
        check_sides(document, spec, source.provider, target.provider)
    document.problems(parts.compiler.problems)
    document.slow_patterns(parts.compiler.patterns)
    if document.errors or source is None or target is None or None in mirrors:
        return None
    built = tuple(mirror for mirror in mirrors if mirror is not None)
    route = Route(name=spec.route, source=source, target=target, points=points, mirrors=built)
    target, *others = (replace(each, secrets=route.secrets) for each in route.targets)
    return replace(route, target=target, mirrors=tuple(others)), parts.compiler


def _captured(source: Source | None) -> set[str]:
    """Return the names that the paths of all calls of a relay capture."""
    if source is None or not source.provider.relay:
        return set()
    return set.intersection(*(set(captures(form.path)) for form in source.receive.requests))


def _check_mirrors(parts: RouteParts, spec: RouteSpec) -> None:
    names = ["send", *(each.mirror for each in spec.mirrors)]
    for index, name in enumerate(names[1:]):
        if name in names[: index + 1]:
            parts.document.error(("mirrors", index, "mirror"), f"{name!r} is the name of another target of this route")


def _points(parts: RouteParts, spec: PointsSpec) -> PointChanges:
    keep = None if spec.keep is None else parts.compiler.expression(spec.keep, POINT, ("points", "keep"))
    new = {str(name): source for name, source in spec.set.items()}
    made = tuple(parts.compiler.members(new, POINT, ("points", "set")).items())
    return PointChanges(keep, made, spec.stats, tuple(spec.allow_loss))
