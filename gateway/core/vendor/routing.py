"""Find the route of a request among all loaded routes.

`make_snapshot` indexes calls by path and host. `Snapshot.match` selects by the head of a request. If several routes
differ only in their key ids, `choose_by_key_id` selects after the key id has been read.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from gateway.core.http.received import Caps, ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason, failure
from gateway.core.recipe.carriers import read_slots
from gateway.core.vendor.matching import KEY, RequestMatcher, fits
from gateway.core.vendor.provider import RequestForm
from gateway.core.vendor.route import Route, Source

_CAPTURE = re.compile(r"\\\{([A-Za-z_]\w*)\\\}")


@dataclass(frozen=True, slots=True)
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
    """One call of one route, with the conditions of both. `pattern` is None for a path without captures."""

    route: Route
    form: RequestForm
    conditions: RequestMatcher
    pattern: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All loaded routes, indexed by path and host. Paths with captures are tried one after the other."""

    routes: tuple[Route, ...] = ()
    _fixed: Mapping[tuple[str, str], Sequence[_Listening]] = field(default_factory=dict, repr=False)
    _capturing: Sequence[_Listening] = field(default=(), repr=False)

    def route_named(self, name: str) -> Route | None:
        return next((route for route in self.routes if route.name == name), None)

    def match(self, request: Request) -> RouteMatch | None:
        """Find the route by the head of a request. Returns None if no route has its path."""
        failed: list[tuple[str, RouteMatch]] = []
        found: list[RouteMatch] = []
        for listening, captured in self._candidates(request):
            route, form = listening.route, listening.form
            if captured and any(route.source.pins.get(name, value) != value for name, value in captured.items()):
                continue
            fits_method, conditions = form.method == request.method, listening.conditions
            unmet = conditions.unmet(request) if fits_method and conditions.tests else None
            if unmet or not fits_method:
                failed.append((form.method, RouteMatch(route, None, captured, unmet=unmet or "")))
                continue
            found.append(RouteMatch(route, form, captured))
            if KEY not in route.source.match.tests:
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

    def _candidates(self, request: Request) -> Iterator[tuple[_Listening, Mapping[str, str]]]:
        path, seen = request.path, False
        for key in dict.fromkeys((*request.hosts, "")):
            for listening in self._fixed.get((path, key), ()):
                seen = True
                yield listening, {}
        if seen:
            return
        for listening in self._capturing:
            match = listening.pattern.fullmatch(path) if listening.pattern else None
            if match:
                yield listening, {name: unquote(value) for name, value in match.groupdict().items()}


def choose_by_key_id(match: RouteMatch, message: ReceivedRequest) -> RouteMatch:
    """Choose among matches by the claimed key id. The first one is the default.

    Raises BodyNeeded if only the head was read and the key may be in the body.
    """
    for each in (match, *match.others) if match.others else ():
        patterns = each.route.source.match.tests.get(KEY)
        if patterns is None:
            return each
        if any(fits(pattern, key) for key in _claimed_keys(each.route.source, message) for pattern in patterns):
            return each
    return match


def _claimed_keys(source: Source, message: ReceivedRequest) -> Iterator[str]:
    """Yield the unverified key id, as read by the recipe that would verify the request."""
    signed = message if source.public_url is None else message.as_sent_to(source.public_url)
    for verifier in source.verifiers or ():
        try:
            slots = read_slots(verifier.recipe, signed)
        except CallerError:
            continue
        if verifier.recipe.key is not None:
            yield slots[verifier.recipe.key.name]
        return


def make_snapshot(routes: Sequence[Route]) -> Snapshot:
    """Index routes by path and host. For equal paths, routes with more conditions come first."""
    fixed: dict[tuple[str, str], list[_Listening]] = {}
    capturing = []
    for route in sorted(routes, key=lambda route: -len(route.source.match.tests)):
        for form in route.source.receive.requests:
            path = route.source.path + form.path
            conditions = form.match.combined_with(route.source.match)
            if "{" in path:
                capturing.append(_Listening(route, form, conditions, path_pattern(path)))
                continue
            hosts = conditions.tests.get("host", ())
            if not hosts or any("*" in host for host in hosts):
                hosts = ("",)
            for host in hosts:
                fixed.setdefault((path, host), []).append(_Listening(route, form, conditions, None))
    return Snapshot(tuple(routes), fixed, tuple(capturing))


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
    return re.sub(r"\{(\w+)\}", lambda match: route.source.pins.get(match[1], "{}"), path)


def path_pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of a path in which each `{name}` captures one segment."""
    return re.compile(_CAPTURE.sub(r"(?P<\1>[^/]+)", re.escape(path)))
