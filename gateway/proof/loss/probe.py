"""Sends a data point the whole way round: encoded as a provider's reporter does, read as the provider itself does.

Nothing is signed and no socket is opened: only what the calls can hold is asked for here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.http.received import ReceivedRequest
from gateway.core.outcome.errors import GatewayError
from gateway.core.pipeline import plan_calls, request_names
from gateway.core.points.decode import Item, apply_reject_rules, decode_items
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Dropped, Rule, Violation, apply_rules
from gateway.core.recipe.verify import Verified
from gateway.core.sending.encode import Call
from gateway.core.sending.split import EncodeContext
from gateway.core.steps import finish
from gateway.core.vendor.provider import Provider, Receive
from gateway.core.vendor.route import Route, Source, Target
from gateway.core.vendor.routing import make_snapshot

NOW_NS = 1_700_000_000_000_000_000
# Recent, so that no rule of age refuses it, and different at each resolution.
TIME_NS = NOW_NS - 1_876_543_211
NAME = "probe_name"  # of an attribute that no provider knows
PROBE = DataPoint("probe_metric", TIME_NS, "probe_namespace", 7, attributes={NAME: "probe"})
UNITS = ("Percent", "%", "Count", "1", "Seconds", "s", "Milliseconds", "ms", "Bytes", "By", "Bytes/Second", "probes")

_WORDS = ("probe_metric", "probe.metric", "probemetric", "probe/metric", "Probe", "P")
_OTHERS: dict[str, tuple[Any, ...]] = {
    "namespace": _WORDS,
    "metric": _WORDS,
    "unit": UNITS,
    "value": (0, 1, 10, 1000, 1_000_000),
    "time_ns": (NOW_NS,),
    "attributes": ({"probe": "probe"},),
}


class NotHeld(Exception):
    """A data point does not go round: the rules, the calls or the vendor's own reading refuse it."""


def own_targets(provider: Provider, rules: tuple[Rule, ...] | None = None) -> tuple[Target, ...]:
    """Return a target for each of the provider's requests, which plays its reporter; `rules` default to its own."""
    if provider.send is None:
        return ()
    return tuple(
        Target(
            provider=provider,
            send=provider.send,
            form=form,
            scheme="http",
            host="probe.example",
            base_path="",
            recipe=next(iter(form.sign), None),
            credential=None,
            given=provider.given,
            rules=tuple(provider.rules.values()) if rules is None else rules,
        )
        for form in provider.send.requests
    )


def round_trip(target: Target, point: DataPoint) -> DataPoint:
    """Return the point as the vendor reads it from the call that carries it. Raises NotHeld.

    What the provider needs and is not given yet, as its URL is, holds its own name.
    """
    receive = target.provider.receive
    if receive is None:
        raise NotHeld("it has no `receive`")
    try:
        held = apply_rules(target.rules, point, now_ns=NOW_NS)
        needed = {name: name for name in target.provider.needs if not target.given.get(name)}
        here = replace(target, base_path="", given={**target.given, **needed})
        calls = plan_calls(here, [Item(0, None, held)], EncodeContext(NOW_NS, lambda: "0" * 32, lambda draft: 0)).calls
        return _read(target, receive, calls[0])
    except Dropped as error:
        raise NotHeld("a rule drops it") from error
    except Violation as error:
        raise NotHeld(error.message) from error
    except GatewayError as error:
        raise NotHeld(error.outcome.message) from error


def _read(target: Target, receive: Receive, call: Call) -> DataPoint:
    source = Source(provider=target.provider, receive=receive, checks=None, given=target.given, rules=())
    request = call.request.render()
    match = make_snapshot([Route(name="probe", source=source, target=target)]).match(request)
    if match is None or match.form is None or match.form.local_call is not None:
        raise NotHeld(f"no request of `receive` is {request.method} {request.path}")
    who = Verified(target.recipe.name if target.recipe else "none", None, {})
    names = request_names(match, ReceivedRequest(request, match.form.body), who)
    apply_reject_rules(receive.reject_report, names)
    items, rejected = finish(decode_items(receive, names, now_ns=NOW_NS))
    if rejected or not items:
        raise NotHeld(rejected[0].message if rejected else "nothing is read from it")
    return items[0].point


def fitted(rules: tuple[Rule, ...], point: DataPoint, *, but: str = "") -> DataPoint:
    """Return the point with texts, numbers and names that the rules let pass, as far as some are found.

    The field named by `but` stays as it is.
    """
    for rule in rules:
        if rule.field != but:
            point = _fitted(rule, point)
    return point


def _fitted(rule: Rule, point: DataPoint) -> DataPoint:
    own = getattr(point, rule.field)
    fewer = _fewer(own, rule) if rule.field == "attributes" else ()
    for value in (own, *fewer, *_OTHERS.get(rule.field, ())):
        changed = replace(point, **{rule.field: value})
        try:
            if apply_rules((rule,), changed, now_ns=NOW_NS) == changed:
                return changed
        except (Violation, Dropped):
            continue
    return point


def _fewer(attributes: Mapping[str, str], rule: Rule) -> list[dict[str, str]]:
    """Return ever fewer of the attributes whose names the rule allows."""
    pattern = rule.keys if not isinstance(rule.keys, frozenset) else None
    allowed = [(name, text) for name, text in attributes.items() if pattern is None or pattern.fullmatch(name)]
    return [dict(allowed[:size]) for size in range(len(allowed), 0, -1)]
