"""Which keys belong to a provider of reports, and which to a relay, whose calls contain no data points."""

from collections.abc import Iterator

from gateway.core.vendor.provider import Provider
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode, MapNode, Path, find

_OF_REPORTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), ("limits", "rules")),
    (("receive",), ("each", "point", "reject_item", "on_bad_item", "allow_empty")),
    (("receive", "replies"), ("ok", "partial")),
    (("send",), ("group_by", "item", "declare", "outcome")),
)
_REQUIRED = (("receive", "each"), ("receive", "point"), ("receive", "replies", "ok"), ("send", "item"))
_OF_REPORT_ROUTES = (((), ("points", "mirrors")), (("receive",), ("rules",)), (("send",), ("rules",)))


def check_roles(document: Document, relay: bool) -> None:
    """Report the keys of a provider that its kind of call does not use, and those that it lacks."""
    if relay:
        for path in _stated(document, _OF_REPORTS):
            what = f"`relay: true` has no `{path[-1]}`: its calls contain no data points, and answers are passed on"
            document.error(path, what, "leave it out", at_key=True)
        _check_cases(document)
        return
    for *above, name in _REQUIRED:
        part = _map_at(document, above)
        if part is not None and name not in part.entries:
            document.error(above, f"{name!r} is missing")
    point = _map_at(document, ("receive", "point"))
    for needed, alternative in (("metric", "metric"), ("value", "stats")):
        if point is not None and not {needed, alternative} & point.entries.keys():
            document.error(("receive", "point"), f"{needed!r} is missing")


def check_sides(document: Document, source: Provider, target: Provider) -> None:
    """Report a route between a relay and reports, and keys that a route of relays does not use."""
    if source.relay != target.relay:
        relay, other = (source, target) if source.relay else (target, source)
        what = f"{relay.name} is a relay and {other.name} is not: calls cannot become data points, or data points calls"
        document.error(("send", "provider"), what)
    elif source.relay:
        for path in _stated(document, _OF_REPORT_ROUTES):
            what = f"a route between relays has no `{path[-1]}`: there are no data points"
            document.error(path, what, "leave it out", at_key=True)
        _check_cases(document)


def _check_cases(document: Document) -> None:
    cases = document.node.entries.get("cases")
    for index, case in enumerate(cases.items if isinstance(cases, ListNode) else ()):
        if isinstance(case, MapNode) and "points" in case.entries:
            document.error(("cases", index, "points"), "a relay has no `points`", at_key=True)


def _stated(document: Document, keys: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]) -> Iterator[Path]:
    """Yield the path of each of the keys that the document states."""
    for path, names in keys:
        part = _map_at(document, path)
        yield from ((*path, name) for name in names if part is not None and name in part.entries)


def _map_at(document: Document, path: Path) -> MapNode | None:
    above = find(document.node, path[:-1])
    part = above.entries.get(str(path[-1])) if path and isinstance(above, MapNode) else document.node
    return part if isinstance(part, MapNode) else None
