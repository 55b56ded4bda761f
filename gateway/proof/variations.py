"""Why a signature does not match: named variations of the request are tried, and the one that fits is the cause.

Each costs a verification, so that this is for people, and for a refusal now and then, never for every request.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.outcome.errors import GatewayError
from gateway.core.recipe.model import Recipe, TimeSlot
from gateway.core.recipe.times import read_times
from gateway.core.recipe.verify import derived_mismatch, matches_signature

UNKNOWN_CAUSE = "the secret or the signed text differs"
_HOURS = [*range(-12, 15)]


def cause_of_refusal(
    recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str], secrets: Iterable[str], *, now_ns: int
) -> str:
    """Say in one sentence why a request was refused whose carriers could be read; it names no secret."""
    if recipe.signature is None:
        return UNKNOWN_CAUSE
    secrets = list(secrets)
    claim = _wrong_claim(recipe, message, slots)
    if _fits(recipe, message, slots, secrets):
        time = _cause_of_time(recipe, slots, now_ns)
        return time or claim or "the signature is right: another rule refuses the request"
    for sentence, request in _variations(message.request):
        if _fits(recipe, ReceivedRequest(request, message.body_kind, message.caps), slots, secrets):
            return sentence
    return claim or UNKNOWN_CAUSE


def _wrong_claim(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str]) -> str | None:
    try:
        wrong = derived_mismatch(recipe, message, slots)
    except GatewayError:
        return None
    return f"{wrong}: the body was changed after it was signed" if wrong and "the body" in wrong else wrong


def _fits(recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str], secrets: list[str]) -> bool:
    try:
        return any(matches_signature(recipe, message, slots, secret) for secret in secrets)
    except GatewayError:
        # The variation cannot even be read: an empty body that is said to be compressed.
        return False


def _variations(request: Request) -> Iterator[tuple[str, Request]]:
    yield from _hosts(request)
    other = "https" if request.scheme == "http" else "http"
    yield f"the client signed {other}: set `public_url` to what it calls", replace(request, scheme=other)
    yield from _paths(request)
    if request.body:
        yield "the client signed an empty body", replace(request, body=b"")
    path, _, query = request.target.partition("?")
    if "+" in query:
        encoded = replace(request, target=f"{path}?{query.replace('+', '%2B')}")
        yield "the client signed a plus sign that it did not encode in the query, where it reads as a blank", encoded
        blank = replace(request, target=f"{path}?{query.replace('+', '%20')}")
        yield "the client signed a blank as %20 that it sent as a plus sign", blank


def _hosts(request: Request) -> Iterator[tuple[str, Request]]:
    name, colon, port = request.host.rpartition(":")
    if colon and port.isdigit():
        yield "the client signed the host without its port", _with_host(request, name)
        return
    for default in ("80", "443", "8080"):
        host = f"{request.host}:{default}"
        yield f"the client signed the host with its port, {host}", _with_host(request, host)


def _paths(request: Request) -> Iterator[tuple[str, Request]]:
    path, question, query = request.target.partition("?")
    rest = question + query
    if path.endswith("/") and len(path) > 1:
        yield "the client signed the path without the slash at its end", replace(request, target=path[:-1] + rest)
    else:
        yield "the client signed the path with a slash at its end", replace(request, target=path + "/" + rest)
    first, slash, deeper = path[1:].partition("/")
    if slash:
        sentence = f"the client signed the path without its first part, /{first}: set `public_url`"
        yield sentence, replace(request, target="/" + deeper + rest)


def _with_host(request: Request, host: str) -> Request:
    others = tuple(header for header in request.headers if header[0].lower() != "host")
    return replace(request, headers=(("Host", host), *others))


def _cause_of_time(recipe: Recipe, slots: Mapping[str, str], now_ns: int) -> str | None:
    """Tell a clock that is off from a zone that is read wrongly."""
    slot = next((slot for slot in recipe.slots.values() if isinstance(slot, TimeSlot) and slot.name in slots), None)
    if slot is None:
        return None
    readings = read_times(slots[slot.name], slot)
    window_ns = slot.window_s * 1_000_000_000
    if not readings or any(abs(reading - now_ns) <= window_ns for reading in readings):
        return None
    if slot.format not in ("epoch", "epoch_ms"):
        for hours in _HOURS:
            shifted = [reading - hours * 3_600_000_000_000 for reading in readings]
            if hours and any(abs(reading - now_ns) <= window_ns for reading in shifted):
                return (
                    f"the client's clock runs {abs(hours)} h {'ahead' if hours > 0 else 'behind'}, as in another zone"
                )
    return "the signature is right, and the clocks of client and gateway differ"
