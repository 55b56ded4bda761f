"""What `try` shows of a request through any route: whose call it is, who sent it, and a call that would go out."""

from collections.abc import Sequence
from typing import Any

from gateway.commands.arguments.options import fail
from gateway.commands.output.explanation import string_to_sign
from gateway.commands.output.printing import heading, line, request_text
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.outcome.masking import mask_secrets
from gateway.core.pipeline import ANONYMOUS
from gateway.core.recipe.sign import Signed
from gateway.core.recipe.verify import Verified
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import RouteMatch, make_snapshot


def matched(route: Route, request: Request) -> tuple[RouteMatch, ReceivedRequest]:
    """Find the route's call that a request is. Raises UserError where it is none."""
    match = make_snapshot([route]).match(request)
    if match is None:
        calls = ", ".join(f"{form.method} {form.path}" for form in route.source.receive.requests)
        fail(f"{route.name} does not listen to {request.path}, but to {calls}")
    return match, match.read(request)


def show_sender(who: Verified) -> None:
    key = f", key {who.key}" if who.key else ""
    heading(
        "not verified: this route believes whoever reports" if who is ANONYMOUS else f"verified by {who.recipe}{key}"
    )


def show_call(signed: Signed, secrets: Sequence[Secret], what: str) -> None:
    """Print a call with its string to sign; `what` names it among others."""
    heading(f"{what} to {mask_secrets(signed.request.url.partition('?')[0], secrets)}")
    text = _string_to_sign(signed, secrets)
    if text:
        line("string to sign: " + text)
    line(request_text(signed.request, secrets))


def call_json(signed: Signed, secrets: Sequence[Secret]) -> dict[str, Any]:
    return {
        "request": request_text(signed.request, secrets),
        "string_to_sign": _string_to_sign(signed, secrets) or None,
    }


def _string_to_sign(signed: Signed, secrets: Sequence[Secret]) -> str:
    return mask_secrets(string_to_sign(signed.evaluation), secrets)
