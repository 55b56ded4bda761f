"""Which keys belong to a provider of reports, and which to a relay, whose calls hold no data points."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from gateway.core.vendor.provider import Provider
from gateway.specs.schema.models import CaseSpec, ProviderSpec, ReceiveSpec, RouteSpec
from gateway.specs.yaml.document import Document

_OF_REPORTS = {
    (): ("limits", "rules"),
    ("receive",): ("each", "point", "reject_item", "on_bad_item", "allow_empty"),
    ("receive", "replies"): ("ok", "partial"),
    ("send",): ("group_by", "item", "declare", "outcome"),
}
_OF_REPORT_ROUTES = {(): ("points", "mirrors"), ("receive",): ("rules",), ("send",): ("rules",)}


def check_roles(document: Document, spec: ProviderSpec) -> None:
    """Report the keys of a provider that its kind of call has no use for, and those that it lacks."""
    if spec.relay:
        for path in _stated(spec, _OF_REPORTS):
            what = f"`relay: true` has no `{path[-1]}`: its calls hold no data points, and answers are passed on"
            document.error(path, what, "leave it out", at_key=True)
        _check_cases(document, spec.cases)
        return
    if spec.receive is not None:
        _check_point(document, spec.receive)
        if spec.receive.replies is not None and not spec.receive.replies.ok:
            document.error(("receive", "replies"), "'ok' is missing")
    if spec.send is not None and spec.send.item is None:
        document.error(("send",), "'item' is missing")


def check_sides(document: Document, spec: RouteSpec, source: Provider, target: Provider) -> None:
    """Report a route between a relay and reports, and what a route of relays has no use for."""
    if source.relay != target.relay:
        relay, other = (source, target) if source.relay else (target, source)
        what = f"{relay.name} is a relay and {other.name} is not: a call cannot become data points, nor these a call"
        document.error(("send", "provider"), what)
    elif source.relay:
        for path in _stated(spec, _OF_REPORT_ROUTES):
            what = f"a route between relays has no `{path[-1]}`: there are no data points"
            document.error(path, what, "leave it out", at_key=True)
        if spec.delivery.mode == "queued":
            document.error(("delivery", "mode"), "a route between relays is direct: its caller waits for the answer")
        _check_cases(document, spec.cases)


def _check_cases(document: Document, cases: Sequence[CaseSpec]) -> None:
    for index, case in enumerate(cases):
        if case.points is not None:
            document.error(("cases", index, "points"), "a relay has no `points`", at_key=True)


def _check_point(document: Document, spec: ReceiveSpec) -> None:
    for name in ("each", "point"):
        if name not in spec.model_fields_set:
            document.error(("receive",), f"{name!r} is missing")
    for needed, alternative in (("metric", "metric"), ("value", "stats")) if "point" in spec.model_fields_set else ():
        if needed not in spec.point and alternative not in spec.point:
            document.error(("receive", "point"), f"{needed!r} is missing")


def _stated(spec: BaseModel, keys: Mapping[tuple[str, ...], tuple[str, ...]]) -> Iterator[Sequence[str]]:
    """Yield the path of each of the keys that the spec states."""
    for path, names in keys.items():
        part: Any = spec
        for step in path:
            part = getattr(part, step, None)
        stated = part.model_fields_set if isinstance(part, BaseModel) else frozenset()
        yield from ((*path, name) for name in names if name in stated)
