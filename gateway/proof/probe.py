"""Sends a data point on a round trip: encoded as a provider's reporter does, read back as the provider itself does.

Nothing is signed or sent. A probe only shows which data the provider's calls can carry.
"""

from dataclasses import replace
from typing import Any

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import PublicUrl, Request
from gateway.core.outcome.errors import GatewayError
from gateway.core.pipeline import plan_calls, request_names
from gateway.core.points.decode import Item, apply_reject_rules, decode_items
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Dropped, Rule, Violation, apply_rules
from gateway.core.recipe.verify import Verified
from gateway.core.sending.encode import EncodeContext
from gateway.core.steps import finish
from gateway.core.vendor.provider import Provider, Receive
from gateway.core.vendor.route import Route, Source, Target
from gateway.core.vendor.routing import make_snapshot

NOW_NS = 1_700_000_000_000_000_000
# Recent, so no rule rejects its age, and different at each resolution.
TIME_NS = NOW_NS - 1_876_543_211
NAME = "probe_name"  # of an attribute that no provider names
PROBE = DataPoint("probe_metric", TIME_NS, "probe_namespace", 7, attributes={NAME: "probe"})
UNITS = ("Percent", "%", "Count", "1", "Seconds", "s", "Milliseconds", "ms", "Bytes", "By", "Bytes/Second", "probes")

_WORDS = ("probe_metric", "probe.metric", "probemetric", "probe/metric", "Probe", "P")
# Values to try for a field until the rules accept one.
_CANDIDATES: dict[str, tuple[Any, ...]] = {
    "namespace": _WORDS,
    "metric": _WORDS,
    "unit": UNITS,
    "value": (0, 1, 10, 1000, 1_000_000),
    "time_ns": (NOW_NS,),
    "attributes": ({"probe": "probe"},),
}


class ProbeFailed(Exception):
    """A round trip failed: the rules, the calls or the provider's own `receive` reject the data point."""


def own_targets(provider: Provider, rules: tuple[Rule, ...] | None = None) -> tuple[Target, ...]:
    """Return a target for each of the provider's requests, as its reporter uses it; `rules` default to its own."""
    if provider.send is None:
        return ()
    return tuple(
        Target(
            provider=provider,
            send=provider.send,
            form=form,
            url=PublicUrl("http", "probe.example"),
            recipe=next(iter(form.sign), None),
            credential=None,
            given=provider.given,
            rules=tuple(provider.rules.values()) if rules is None else rules,
        )
        for form in provider.send.requests
    )


def round_trip(target: Target, point: DataPoint) -> DataPoint:
    """Return the point as the provider reads it from the call that carries it. Raises ProbeFailed.

    A needed `given` without a value, such as that of a URL, is its own name.
    """
    receive = target.provider.receive
    if receive is None:
        raise ProbeFailed("it has no `receive`")
    needed = {name: name for name in target.provider.needs if not target.given.get(name)}
    target = replace(target, url=replace(target.url, prefix=""), given={**target.given, **needed})
    try:
        sent = apply_rules(target.rules, point, now_ns=NOW_NS)
        context = EncodeContext(NOW_NS, lambda: "0" * 32, lambda draft: 0)
        calls = plan_calls(target, [Item(0, None, sent)], context).calls
        return _read(target, receive, calls[0].request.render())
    except Dropped as error:
        raise ProbeFailed("a rule drops it") from error
    except Violation as error:
        raise ProbeFailed(error.message) from error
    except GatewayError as error:
        raise ProbeFailed(error.outcome.message) from error


def arrived_or_none(target: Target, point: DataPoint) -> DataPoint | None:
    try:
        return round_trip(target, point)
    except ProbeFailed:
        return None


def _read(target: Target, receive: Receive, request: Request) -> DataPoint:
    source = Source(provider=target.provider, receive=receive, verifiers=None, given=target.given, rules=())
    match = make_snapshot([Route(name="probe", source=source, target=target)]).match(request)
    if match is None or match.form is None or match.form.local_call is not None:
        raise ProbeFailed(f"no request of `receive` is {request.method} {request.path}")
    caller = Verified(target.recipe.name if target.recipe else "none", None, {})
    names = request_names(match, ReceivedRequest(request, match.form.body), caller)
    apply_reject_rules(receive.reject_report, names)
    items, rejected = finish(decode_items(receive, names, now_ns=NOW_NS))
    if rejected or not items:
        raise ProbeFailed(rejected[0].message if rejected else "no data point is read from it")
    return items[0].point


def fitted(rules: tuple[Rule, ...], point: DataPoint, *, but: str = "") -> DataPoint:
    """Replace fields that the rules reject by candidates that they accept, if there are any; not the field `but`."""

    def passes(rule: Rule, changed: DataPoint) -> bool:
        try:
            return apply_rules((rule,), changed, now_ns=NOW_NS) == changed
        except (Violation, Dropped):
            return False

    for rule in rules:
        if rule.field != but:
            values = [getattr(point, rule.field), *_CANDIDATES.get(rule.field, ())]
            if rule.field == "attributes":  # ever smaller subsets of those whose names the rule allows
                pattern = None if isinstance(rule.keys, frozenset) else rule.keys
                allowed = [item for item in point.attributes.items() if not pattern or pattern.fullmatch(item[0])]
                values[1:1] = [dict(allowed[:size]) for size in range(len(allowed), 0, -1)]
            changed = (replace(point, **{rule.field: value}) for value in values)
            point = next((each for each in changed if passes(rule, each)), point)
    return point
