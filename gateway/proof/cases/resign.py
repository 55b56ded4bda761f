"""Makes a sample request valid for now and for another address: its times are shifted and it is signed again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.core.context import RequestContext
from gateway.core.http.request import PublicUrl, Request, Secret, without_headers
from gateway.core.moments import NS
from gateway.core.outcome.errors import CallerError
from gateway.core.pipeline import identify_caller
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.session_tokens import issue_token
from gateway.core.recipe.sign import SigningContext, sign, to_draft
from gateway.core.recipe.verify import NoReplayCheck
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch, make_snapshot

DAY_S = 86_400
SESSION_S = 3600
# An integer that may be a time since 2001, in seconds, milliseconds, microseconds or nanoseconds.
_EPOCH = re.compile(r"(?<![\w.])\d{10}(?:\d{9}|\d{6}|\d{3})?(?![\w.])")
# ISO 8601 to the second, extended or basic, with colons that may be percent-encoded. A fraction and zone may follow.
_ISO = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?:[T ]|%20)\d\d(:|%3[Aa])\d\d\1\d\d(?!\d)|(?<!\d)\d{8}T\d{6}(?!\d)")


@dataclass(frozen=True, slots=True)
class RefreshedSample:
    """A request that is valid now. `recipe` is None if it was not signed again."""

    request: Request
    recipe: Recipe | None = None


def refresh_sample(
    request: Request, route: Route, *, then_ns: int, context: SigningContext, address: str
) -> RefreshedSample:
    """Shift the times of a request from `then_ns` to now, and sign it again for a gateway at this address.

    Requests that the route rejects are not signed. Raises SpecError if signing fails.
    """
    shifted = _shifted(request, then_ns // NS, context.now_ns // NS)
    if "host" not in route.source.match.tests:
        shifted = shifted.at(PublicUrl("http", address))
    match = make_snapshot([route]).match(request)
    signer = None if match is None or match.form is None else _signer(match, request, then_ns, context)
    if match is None or signer is None:
        return RefreshedSample(shifted)
    recipe, credential, slots = signer
    # The request as its client sees it, in front of a proxy if the route has a `public_url`.
    url = route.source.public_url
    seen = shifted if url is None else shifted.at(url)
    # Optional headers, such as a digest of the old body, are left out. Those with given values are written again.
    optional = {carrier.name for carrier in recipe.carriers if carrier.optional and carrier.place == "header"}
    seen = replace(seen, headers=without_headers(seen.headers, *optional))
    signed = sign(to_draft(match.read(seen), recipe), recipe, credential, slots, context).request
    if url is not None:
        signed = signed.at(PublicUrl("http", shifted.host))
        signed = replace(signed, target=signed.target.removeprefix(url.prefix))
    return RefreshedSample(signed, recipe)


def _signer(
    match: RouteMatch, request: Request, then_ns: int, context: SigningContext
) -> tuple[Recipe, Credential, Mapping[str, str]] | None:
    """Return the recipe, the key or a new session of the caller's account, and the slots of a request.

    None for a request that the route rejects, and for a secret that never expires.
    """
    source = match.route.source
    try:
        message = match.read(request)
        caller = identify_caller(source, source.verifiers, message, RequestContext(then_ns, NoReplayCheck()))
    except CallerError:
        return None
    verifier = next((each for each in source.verifiers or () if each.recipe.name == caller.recipe), None)
    if verifier is None or caller.secret is None:
        return None
    if verifier.recipe.signature is not None:
        return verifier.recipe, Credential(caller.secret, caller.key), caller.slots
    for account in (account for accounts in verifier.accounts.values() for account in accounts):
        if (account.credential.key, account.credential.secret) == (caller.key, caller.secret):
            lifetime_s = min(SESSION_S, account.lifetime_s)
            token, _ = issue_token(account, now_ns=context.now_ns, lifetime_s=lifetime_s, entropy=context.entropy)
            return verifier.recipe, Credential(Secret(token)), caller.slots
    return None


def _shifted(request: Request, then_s: int, now_s: int) -> Request:
    """Shift each time within a day of the sample's time."""

    def shift_epoch(found: re.Match[str]) -> str:
        unit = 10 ** (len(found[0]) - 10)
        time = int(found[0])
        is_near = abs(time - then_s * unit) < DAY_S * unit
        return str(time + (now_s - then_s) * unit) if is_near else found[0]

    def shift_iso(found: re.Match[str]) -> str:
        digits = re.sub(r"%20|%3[Aa]|\D", "", found[0])
        try:
            time = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return found[0]
        if abs(time.timestamp() - then_s) >= DAY_S:
            return found[0]
        shifted = iter((time + timedelta(seconds=now_s - then_s)).strftime("%Y%m%d%H%M%S"))
        return re.sub(r"(%20|%3[Aa])|\d", lambda part: part[1] or next(shifted), found[0])

    def shift(text: str) -> str:
        return _ISO.sub(shift_iso, _EPOCH.sub(shift_epoch, text))

    body = shift(request.body.decode("utf-8", "surrogateescape"))
    return replace(request, target=shift(request.target), body=body.encode("utf-8", "surrogateescape"))
