"""All routes of one load, and how the route of a request is found among them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from gateway.core.http.received import Caps, ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason, failure
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.model import KeySlot
from gateway.core.vendor.matching import KEY, RequestMatcher, fits
from gateway.core.vendor.provider import RequestMatch
from gateway.core.vendor.route import Route, Source

_CAPTURE = re.compile(r"\\\{([A-Za-z_]\w*)\\\}")


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The route of a request, the form of call it is, and what its path captured.

    `form` is None where the route has the path, and no call of that method, or none whose conditions the request meets.
    In the former case `allow` are the methods that the path has, in the latter `unmet` says what is not met. `others`
    are further matches, for other keys than this one's.
    """

    route: Route
    form: RequestMatch | None
    captured: Mapping[str, str]
    allow: tuple[str, ...] = ()
    others: "tuple[RouteMatch, ...]" = ()
    unmet: str = ""

    def read(self, request: Request, *, head_only: bool = False) -> ReceivedRequest:
        """Return the request as this call reads it."""
        source = self.route.source
        if self.form is None:
            return ReceivedRequest(request, "none", head_only=head_only)
        caps = Caps(source.max_body_bytes) if self.form.local_call else source.caps
        return ReceivedRequest(request, self.form.body, caps, head_only=head_only)

    def expect_call(self, method: str) -> RequestMatch:
        """Return the form of call. Raises CallerError: WRONG_METHOD or UNKNOWN_CALL."""
        if self.form is not None:
            return self.form
        if not self.allow:
            raise CallerError.of(Reason.UNKNOWN_CALL, f"no call of this path matches: {self.unmet}")
        refused = failure(Reason.WRONG_METHOD, f"{method} is not a method of this call")
        raise CallerError(replace(refused, allow=self.allow))


@dataclass(frozen=True, slots=True)
class _Listening:
    """One call of one route: `conditions` are the call's own and the route's."""

    route: Route
    form: RequestMatch
    conditions: RequestMatcher
    pattern: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All routes of one load. Finding a route costs the same however many there are, if paths or hosts tell them apart.

    Paths that capture are tried one after the other.
    """

    routes: tuple[Route, ...] = ()
    _fixed: Mapping[tuple[str, str], Sequence[_Listening]] = field(default_factory=dict, repr=False)
    _capturing: Sequence[_Listening] = field(default=(), repr=False)

    def route_named(self, name: str) -> Route | None:
        return next((route for route in self.routes if route.name == name), None)

    def match(self, request: Request) -> RouteMatch | None:
        """Find the route by the head of a request; None when no route has its path."""
        unfit: list[tuple[str, RouteMatch]] = []
        found: list[RouteMatch] = []
        for listening, captured in self._candidates(request):
            route, form = listening.route, listening.form
            if any(route.source.pins.get(name, value) != value for name, value in captured.items()):
                continue
            unmet = listening.conditions.unmet(request) if form.method == request.method else ""
            if unmet is not None:
                unfit.append((form.method, RouteMatch(route, None, captured, unmet=unmet)))
                continue
            found.append(RouteMatch(route, form, captured))
            if KEY not in route.source.match.tests:
                break
        if not found:
            return _unfit(request.method, unfit)
        first, *others = found
        return RouteMatch(first.route, first.form, first.captured, others=tuple(others)) if others else first

    def _candidates(self, request: Request) -> Iterator[tuple[_Listening, Mapping[str, str]]]:
        path, host = request.path, request.host.lower()
        seen = False
        for key in dict.fromkeys((host, re.sub(r":\d*$", "", host), "")):
            for listening in self._fixed.get((path, key), ()):
                seen = True
                yield listening, {}
        if seen:
            return
        for listening in self._capturing:
            match = listening.pattern.fullmatch(path) if listening.pattern else None
            if match:
                yield listening, {name: unquote(value) for name, value in match.groupdict().items()}


def _unfit(method: str, unfit: Sequence[tuple[str, RouteMatch]]) -> RouteMatch | None:
    """Of calls that have the path and do not fit, return the first of that method, else the first of all."""
    of_method = [match for known, match in unfit if known == method]
    if of_method or not unfit:
        return next(iter(of_method), None)
    return replace(unfit[0][1], allow=tuple(sorted({known for known, _ in unfit})))


def choose_by_key_id(match: RouteMatch, message: ReceivedRequest) -> RouteMatch:
    """Choose among matches that the key tells apart; where no route has the key that is claimed, the first stays.

    Raises BodyNeeded if only the head was read and the key may be in the body.
    """
    for each in (match, *match.others) if match.others else ():
        patterns = each.route.source.match.tests.get(KEY)
        if patterns is None or any(
            fits(pattern, key) for key in _claimed(each.route.source, message) for pattern in patterns
        ):
            return each
    return match


def _claimed(source: Source, message: ReceivedRequest) -> Iterator[str]:
    """Yield the key id that a request claims; whether rightly so is not known yet.

    It is read by the recipe that the request would be verified by, and by no other.
    """
    seen = message if source.public_url is None else message.as_sent_to(source.public_url)
    for check in source.checks or ():
        try:
            slots = read_slots(check.recipe, seen)
        except CallerError:
            continue
        yield from (slots[name] for name, slot in check.recipe.slots.items() if isinstance(slot, KeySlot))
        return


def make_snapshot(routes: Sequence[Route]) -> Snapshot:
    """Index routes by path and host. Among those of one path, what asks for more comes first."""
    fixed: dict[tuple[str, str], list[_Listening]] = {}
    capturing = []
    for route in sorted(routes, key=lambda route: -len(route.source.match.tests)):
        for form in route.source.receive.requests:
            path = route.source.path + form.path
            conditions = form.match & route.source.match
            if "{" in path:
                capturing.append(_Listening(route, form, conditions, path_pattern(path)))
                continue
            for host in _fixed_hosts(conditions):
                fixed.setdefault((path, host), []).append(_Listening(route, form, conditions, None))
    return Snapshot(tuple(routes), fixed, tuple(capturing))


def indistinguishable_call(one: Route, other: Route) -> RequestMatch | None:
    """Return a call of the second route that cannot be told from one of the first, if there is any."""
    mine, theirs = one.source.match, other.source.match
    if mine.is_stricter_than(theirs) or theirs.is_stricter_than(mine):
        return None
    for call in one.source.receive.requests:
        for form in other.source.receive.requests:
            same = call.method == form.method and _shape(one, call) == _shape(other, form)
            if same and not (call.match & mine).is_disjoint_from(form.match & theirs):
                return form
    return None


def path_pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of a path whose `{name}`s each capture one segment."""
    return re.compile(_CAPTURE.sub(r"(?P<\1>[^/]+)", re.escape(path)))


def _shape(route: Route, form: RequestMatch) -> str:
    """Return the path with what it captures replaced by what the route pins it to."""
    path = route.source.path + form.path
    return re.sub(r"\{(\w+)\}", lambda match: route.source.pins.get(match[1], "{}"), path)


def _fixed_hosts(conditions: RequestMatcher) -> tuple[str, ...]:
    hosts = conditions.tests.get("host", ())
    return hosts if hosts and not any("*" in host for host in hosts) else ("",)
