"""Finds the likely cause of a rejected signature, for operators; it is not part of the reply to the reporter.

Named variations of the request are verified one by one, and the one that matches is the cause. This costs up to a dozen
verifications, so callers limit how often they ask.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import PublicUrl, Request
from gateway.core.moments import NS
from gateway.core.outcome.errors import CallerError, GatewayError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.times import EPOCHS, read_times
from gateway.core.recipe.verify import VerificationFailed, derived_mismatch, matching_secret
from gateway.core.vendor.routing import RouteMatch

UNKNOWN_CAUSE = "the secret or the signed text differs"


def likely_cause(match: RouteMatch, message: ReceivedRequest, error: Exception | None, *, now_ns: int) -> str | None:
    """Return the likely cause of a rejection in one sentence, or None if its reason is clear without it."""
    if not isinstance(error, VerificationFailed):
        return None
    if error.outcome.reason not in (Reason.BAD_SIGNATURE, Reason.STALE):
        return None
    if message.request.header("content-encoding") is not None:
        return None  # Inflating the body would cost far more than sending it did.
    source = match.route.source
    seen = message if source.public_url is None else message.as_sent_to(source.public_url)
    verifiers = [verifier for group in (source.verifiers, *source.local_verifiers.values()) for verifier in group or ()]
    verifier = next((verifier for verifier in verifiers if verifier.recipe.name == error.recipe), None)
    if verifier is None:
        return None
    secrets = [secret.reveal() for secret in verifier.keyring.by_key.get(error.key or "", ())]
    try:
        slots = read_slots(verifier.recipe, seen)
    except CallerError:
        return None
    return cause_of_rejection(verifier.recipe, seen, slots, secrets, now_ns=now_ns)


def cause_of_rejection(
    recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str], secrets: Iterable[str], *, now_ns: int
) -> str:
    """Return the cause of a rejected request whose carriers could be read. It never includes a secret."""
    if recipe.signature is None:
        return UNKNOWN_CAUSE
    secrets = list(secrets)

    def is_signed(request: Request) -> bool:
        try:
            seen = ReceivedRequest(request, message.body_kind, message.caps)
            return matching_secret(recipe, seen, slots, secrets) is not None
        except GatewayError:
            # The variation cannot be read, for example an empty body that is declared as compressed.
            return False

    mismatch: str | None = None
    with suppress(GatewayError):
        if wrong := derived_mismatch(recipe, message, slots):
            mismatch = f"{wrong}: the body was changed after it was signed" if "the body" in wrong else wrong
    if is_signed(message.request):
        return _cause_of_time(recipe, slots, now_ns) or mismatch or "the signature is right: another rule rejects it"
    variations = _variations(message.request)
    return next((cause for cause, request in variations if is_signed(request)), mismatch or UNKNOWN_CAUSE)


def _variations(request: Request) -> Iterator[tuple[str, Request]]:
    """Yield requests that the client may have signed instead, each with the cause it would prove."""
    name, colon, port = request.host.rpartition(":")
    if colon and port.isdigit():
        yield "the client signed the host without its port", request.at(PublicUrl(request.scheme, name))
    else:
        for host in (f"{request.host}:{default}" for default in ("80", "443", "8080")):
            yield f"the client signed the host with its port, {host}", request.at(PublicUrl(request.scheme, host))
    other = "https" if request.scheme == "http" else "http"
    yield f"the client signed {other}: set `public_url` to the URL it calls", replace(request, scheme=other)
    path, question, query = request.target.partition("?")
    if path.endswith("/") and len(path) > 1:
        shorter = replace(request, target=path[:-1] + question + query)
        yield "the client signed the path without the slash at its end", shorter
    else:
        longer = replace(request, target=f"{path}/{question}{query}")
        yield "the client signed the path with a slash at its end", longer
    first, slash, deeper = path[1:].partition("/")
    if slash:
        cause = f"the client signed the path without its first segment, /{first}: set `public_url`"
        yield cause, replace(request, target=f"/{deeper}{question}{query}")
    if request.body:
        yield "the client signed an empty body", replace(request, body=b"")
    if "+" in query:
        plus = replace(request, target=f"{path}?{query.replace('+', '%2B')}")
        yield "the client signed a plus sign and sent it unencoded in the query, where it means a space", plus
        space = replace(request, target=f"{path}?{query.replace('+', '%20')}")
        yield "the client signed a space as %20 and sent it as a plus sign", space


def _cause_of_time(recipe: Recipe, slots: Mapping[str, str], now_ns: int) -> str | None:
    """Distinguish a wrong clock from a wrong time zone."""
    slot = recipe.time
    if slot is None or slot.name not in slots:
        return None
    ahead_by_ns = [reading - now_ns for reading in read_times(slots[slot.name], slot)]
    window_ns = slot.window_s * NS
    if not ahead_by_ns or any(abs(ahead_ns) <= window_ns for ahead_ns in ahead_by_ns):
        return None
    if slot.format not in EPOCHS:
        for hours in range(-12, 15):
            if any(abs(ahead_ns - hours * 3600 * NS) <= window_ns for ahead_ns in ahead_by_ns):
                side = "ahead" if hours > 0 else "behind"
                return f"the client's clock is {abs(hours)} h {side}, as in another time zone"
    return "the signature is right, and the clocks of client and gateway differ"
