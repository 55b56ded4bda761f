"""Find the route of a request among all loaded routes.

`make_snapshot` indexes calls by path and host. `Snapshot.match` selects by the head of a request. If several routes
differ only in their key ids, `choose_by_key_id` selects after the key id has been read.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple
from urllib.parse import unquote

from gateway.core.http.received import Caps, ReceivedRequest
from gateway.core.http.request import PublicUrl, Request
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason, failure
from gateway.core.recipe.carriers import read_slots
from gateway.core.record import record
from gateway.core.vendor.matching import KEY, RequestMatcher, fits
from gateway.core.vendor.provider import RequestForm
from gateway.core.vendor.route import Route, Source

_CAPTURE = re.compile(r"\\?\{([A-Za-z_]\w*)(?:\\?(\*))?\\?\}")  # also in the result of re.escape()


@record
class RouteMatch:
    """The route of a request, its call form, and the values that the path captured.

    `form` is None if no call of this path matches: either `allow` lists the path's methods, or `unmet` describes a
    failed condition. `others` are further matches, for other key ids.
    """

    route: Route
    form: RequestForm | None
    captured: Mapping[str, str]
    allow: tuple[str, ...] = ()
    others: "tuple[RouteMatch, ...]" = ()
    unmet: str = ""

    def read(self, request: Request, *, head_only: bool = False) -> ReceivedRequest:
        """Return the request with the body kind and the limits of this call."""
        source = self.route.source
        if self.form is None:
            return ReceivedRequest(request, "none", head_only=head_only)
        caps = Caps(source.max_body_bytes) if self.form.local_call else source.caps
        return ReceivedRequest(request, self.form.body, caps, head_only=head_only)

    def expect_call(self, method: str) -> RequestForm:
        """Return the call form. Raises CallerError: WRONG_METHOD or UNKNOWN_CALL."""
        if self.form is not None:
            return self.form
        if not self.allow:
            raise CallerError.of(Reason.UNKNOWN_CALL, f"no call of this path matches: {self.unmet}")
        outcome = failure(Reason.WRONG_METHOD, f"{method} is not a method of this call")
        raise CallerError(replace(outcome, allow=self.allow))


@dataclass(frozen=True, slots=True)
class _Listening:
    """One call of one route, with the conditions of both. Earlier ones are tried first.

    `match` is the result without captured values. `pattern` is None for a path that is compared as a whole. A `rest`
    captures the end of the path, and is tried after paths with a fixed number of segments.
    """

    number: int
    match: RouteMatch
    method: str
    conditions: RequestMatcher
    pattern: re.Pattern[str] | None = None
    rest: bool = False

    def is_met(self, request: Request) -> bool:
        """Whether a request of its path meets it without further conditions."""
        return self.pattern is None and not self.conditions.tests and self.method == request.method


class _Form(NamedTuple):
    """The number of segments of a path, the positions of fixed ones, and how they are compared."""

    segments: int
    fixed: tuple[int, ...]
    rest: bool
    ignore_case: bool


# Paths with a pattern by their form, then by their fixed segments.
_Captures = dict[_Form, dict[tuple[str, ...], list[_Listening]]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All loaded routes, indexed by path and host, or by the fixed segments of a path with captures.

    The host is "" in the index if any host, or a pattern of hosts, is received.
    """

    routes: tuple[Route, ...] = ()
    _fixed: Mapping[str, Mapping[str, Sequence[_Listening]]] = field(default_factory=dict, repr=False)
    _captures: _Captures = field(default_factory=dict, repr=False)

    def route_named(self, name: str) -> Route | None:
        return next((route for route in self.routes if route.name == name), None)

    def match(self, request: Request) -> RouteMatch | None:
        """Find the route by the head of a request. Returns None if no route has its path."""
        candidates = self._candidates(request)
        if candidates and candidates[0].is_met(request):
            return candidates[0].match
        failed: list[tuple[str, RouteMatch]] = []
        found: list[RouteMatch] = []
        for listening in candidates:
            match = listening.match
            if listening.pattern is not None:
                captured = _captured(listening.pattern, request.path, match.route.source.pins)
                if captured is None:
                    continue
                match = RouteMatch(match.route, match.form, captured)
            is_method = listening.method == request.method
            unmet = listening.conditions.unmet(request) if is_method else None
            if unmet or not is_method:
                failed.append((listening.method, RouteMatch(match.route, None, match.captured, unmet=unmet or "")))
                continue
            found.append(match)
            if KEY not in match.route.source.match.tests:
                break
        if found:
            first, *others = found
            return replace(first, others=tuple(others)) if others else first
        if not failed:
            return None
        for method, match in failed:
            if method == request.method:
                return match
        return replace(failed[0][1], allow=tuple(sorted({method for method, _ in failed})))

    def _candidates(self, request: Request) -> Sequence[_Listening]:
        path = request.path
        by_host = self._fixed.get(path, {})
        if len(by_host) == 1 and "" in by_host:
            return by_host[""]
        fixed = [each for host in dict.fromkeys((*request.hosts, "")) for each in by_host.get(host, ())]
        if fixed:
            return fixed
        segments = [unquote(segment) for segment in path.split("/")] if "%" in path else path.split("/")
        captures: list[_Listening] = []
        for form, by_segments in self._captures.items():
            if form.segments == len(segments) or (form.rest and form.segments < len(segments)):
                found = [segments[position] for position in form.fixed]
                captures += by_segments.get(tuple(map(str.lower, found) if form.ignore_case else found), ())
        captures.sort(key=attrgetter("rest", "number"))
        return captures


def _captured(pattern: re.Pattern[str], path: str, pins: Mapping[str, str]) -> dict[str, str] | None:
    """Return the values that a path captures, or None if it does not match or a pinned value differs."""
    match = pattern.fullmatch(path)
    if match is None:
        return None
    captured = {name: unquote(value) for name, value in match.groupdict().items()}
    fold = str.lower if pattern.flags & re.IGNORECASE else str
    return None if any(fold(pins.get(name, value)) != fold(value) for name, value in captured.items()) else captured


def choose_by_key_id(match: RouteMatch, message: ReceivedRequest) -> RouteMatch:
    """Choose among matches by the claimed key id. The first one is the default.

    Raises BodyNeeded if only the head was read and the key may be in the body.
    """
    claimed: dict[tuple[PublicUrl | str | None, ...], str | None] = {}  # many routes have the same recipes
    for each in (match, *match.others) if match.others else ():
        source = each.route.source
        patterns = source.match.tests.get(KEY)
        if patterns is None:
            return each
        reading = (source.public_url, *[verifier.recipe.name for verifier in source.verifiers or ()])
        if reading not in claimed:
            claimed[reading] = _claimed_key(source, message)
        key = claimed[reading]
        if key is not None and any(fits(pattern, key) for pattern in patterns):
            return each
    return match


def _claimed_key(source: Source, message: ReceivedRequest) -> str | None:
    """Return the unverified key id, as read by the recipe that would verify the request."""
    signed = message if source.public_url is None else message.as_sent_to(source.public_url)
    for verifier in source.verifiers or ():
        try:
            slots = read_slots(verifier.recipe, signed)
        except CallerError:
            continue
        return slots[verifier.recipe.key.name] if verifier.recipe.key is not None else None
    return None


def make_snapshot(routes: Sequence[Route]) -> Snapshot:
    """Index the calls of routes. Among calls of the same path, those of routes with more conditions come first."""
    fixed: dict[str, dict[str, list[_Listening]]] = {}
    captures: _Captures = {}
    ordered = sorted(routes, key=lambda route: -len(route.source.match.tests))
    calls = [(route, form) for route in ordered for form in route.source.receive.requests]
    for number, (route, form) in enumerate(calls):
        path, conditions = route.source.path + form.path, form.match.combined_with(route.source.match)
        listening = _Listening(number, RouteMatch(route, form, {}), form.method, conditions)
        if "{" in path or form.ignore_case:
            pinned = {f"{{{name}}}": value for name, value in route.source.pins.items()}
            segments = [pinned.get(segment, unquote(segment)) for segment in path.split("/")]
            known = {position: segment for position, segment in enumerate(segments) if "{" not in segment}
            rest, values = path.endswith("*}"), tuple(known.values())
            kind = _Form(len(segments), tuple(known), rest, form.ignore_case)
            key = tuple(map(str.lower, values)) if form.ignore_case else values
            pattern = path_pattern(path, ignore_case=form.ignore_case)
            captures.setdefault(kind, {}).setdefault(key, []).append(replace(listening, pattern=pattern, rest=rest))
            continue
        hosts = conditions.tests.get("host", ())
        for host in hosts if hosts and "*" not in "".join(hosts) else ("",):
            fixed.setdefault(path, {}).setdefault(host, []).append(listening)
    return Snapshot(tuple(routes), fixed, captures)


def ambiguous_calls(routes: Iterable[Route]) -> Iterator[tuple[Route, Route, RequestForm]]:
    """Yield each route, an earlier one that receives the same call, and that call."""
    earlier: dict[tuple[str, str], list[tuple[Route, RequestForm]]] = {}
    for route in routes:
        mine, found = route.source.match, {route.name}
        for form in route.source.receive.requests:
            same = earlier.setdefault((form.method, _pinned_path(route, form)), [])
            for other, call in same:
                theirs = other.source.match
                if other.name in found or mine.is_stricter_than(theirs) or theirs.is_stricter_than(mine):
                    continue
                if not call.match.combined_with(theirs).is_disjoint_from(form.match.combined_with(mine)):
                    found.add(other.name)
                    yield route, other, form
            same.append((route, form))


def _pinned_path(route: Route, form: RequestForm) -> str:
    """Return the path with each capture replaced by the value that the route pins, else by `{}`."""
    path = route.source.path + form.path
    pinned = _CAPTURE.sub(lambda match: route.source.pins.get(match[1], f"{{{match[2] or ''}}}"), path)
    return pinned.lower() if form.ignore_case else pinned


def path_pattern(path: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Return the pattern of a path in which `{name}` captures one segment, and `{name*}` at its end all that follow."""

    def group(match: re.Match[str]) -> str:
        return f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})"

    return re.compile(_CAPTURE.sub(group, re.escape(path)), re.IGNORECASE if ignore_case else 0)
