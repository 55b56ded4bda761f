"""A sample's request as its sender would make it now, and for another address: its times moved, its signature new."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import PublicUrl, Request, Secret
from gateway.core.moments import NS
from gateway.core.outcome.errors import CallerError
from gateway.core.pipeline import identify_caller
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.session_tokens import issue_token
from gateway.core.recipe.sign import SigningContext, sign, to_draft
from gateway.core.recipe.verify import NoReplayCheck, Verified, Verifier
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch, make_snapshot

DAY_S = 86_400
# A whole number that may be a time since 2001: seconds, milliseconds, microseconds or nanoseconds.
_MOMENT = re.compile(r"(?<![\w.])\d{10}(?:\d{9}|\d{6}|\d{3})?(?![\w.])")
# ISO 8601 to the second, in its extended and its basic form, colons perhaps percent-encoded. Fraction and zone follow.
_ISO = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?:[T ]|%20)\d\d(:|%3[Aa])\d\d\1\d\d(?!\d)|(?<!\d)\d{8}T\d{6}(?!\d)")
SESSION_S = 3600


@dataclass(frozen=True, slots=True)
class RefreshedSample:
    """A request of this moment; `recipe` is None where nothing had to be signed again."""

    request: Request
    recipe: Recipe | None = None


def refresh_sample(
    request: Request, route: Route, *, then_ns: int, fresh: SigningContext, address: str
) -> RefreshedSample:
    """Return the request as whoever could sign it at `then_ns` signs it now, for a gateway at this address.

    What the route refuses stays as refused as it was. Raises SpecError where it cannot be signed.
    """
    moved = _moved(request, then_ns // NS, fresh.now_ns // NS)
    if "host" not in route.source.match.tests:
        moved = moved.at(PublicUrl("http", address))
    match = make_snapshot([route]).match(request)
    if match is None or match.form is None:
        return RefreshedSample(moved)
    try:
        who = identify_caller(
            route.source,
            route.source.checks,
            match.read(request),
            now_ns=then_ns,
            replays=NoReplayCheck(),
            peer=None,
        )
    except CallerError:
        return RefreshedSample(moved)
    return _signed_anew(moved, match, who, fresh)


def _signed_anew(request: Request, match: RouteMatch, who: Verified, fresh: SigningContext) -> RefreshedSample:
    source = match.route.source
    check = next((check for check in source.checks or () if check.recipe.name == who.recipe), None)
    credential = None if check is None else _credential(check, who, fresh)
    if check is None or credential is None:
        return RefreshedSample(request)
    recipe, url = check.recipe, source.public_url
    seen = request if url is None else request.at(url)
    draft = to_draft(_without_digests(match.read(seen), recipe), recipe)
    signed = sign(draft, recipe, credential, who.slots, fresh).request
    return RefreshedSample(signed if url is None else _behind(signed, url, request.host), recipe)


def _credential(check: Verifier, who: Verified, fresh: SigningContext) -> Credential | None:
    """Return what signs the request again: the key, or a new session of the account; None where nothing expires."""
    if who.secret is None:
        return None
    if check.recipe.signature is not None:
        return Credential(who.secret, who.key)
    for account in (account for accounts in check.accounts.values() for account in accounts):
        if (account.credential.key, account.credential.secret) == (who.key, who.secret):
            lifetime_s = min(SESSION_S, account.lifetime_s)
            token, _ = issue_token(account, now_ns=fresh.now_ns, lifetime_s=lifetime_s, entropy=fresh.entropy)
            return Credential(Secret(token))
    return None


def _moved(request: Request, then_s: int, now_s: int) -> Request:
    """Return the request with each time of the sample's day moved to now."""

    def move(found: re.Match[str]) -> str:
        unit = 10 ** (len(found[0]) - 10)
        moment = int(found[0])
        near = abs(moment - then_s * unit) < DAY_S * unit
        return str(moment + (now_s - then_s) * unit) if near else found[0]

    def move_iso(found: re.Match[str]) -> str:
        digits = re.sub(r"%20|%3[Aa]|\D", "", found[0])
        try:
            moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return found[0]
        if abs(moment.timestamp() - then_s) >= DAY_S:
            return found[0]
        moved = iter((moment + timedelta(seconds=now_s - then_s)).strftime("%Y%m%d%H%M%S"))
        return re.sub(r"(%20|%3[Aa])|\d", lambda part: part[1] or next(moved), found[0])

    def moved(text: str) -> str:
        return _ISO.sub(move_iso, _MOMENT.sub(move, text))

    body = moved(request.body.decode("utf-8", "surrogateescape"))
    return replace(request, target=moved(request.target), body=body.encode("utf-8", "surrogateescape"))


def _without_digests(message: ReceivedRequest, recipe: Recipe) -> ReceivedRequest:
    """Leave out what need not be there, as a digest of the body that was: what is given of it is written anew."""
    names = {carrier.name for carrier in recipe.carriers if carrier.optional and carrier.place == "header"}
    headers = tuple(header for header in message.request.headers if header[0].lower() not in names)
    return ReceivedRequest(replace(message.request, headers=headers), message.body_kind)


def _behind(request: Request, url: PublicUrl, host: str) -> Request:
    """Return what arrives behind the proxy at this URL."""
    behind = request.at(PublicUrl("http", host))
    return replace(behind, target=behind.target.removeprefix(url.prefix))
