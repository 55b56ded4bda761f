"""The likely cause of a refused signature, for whoever runs the gateway. The reporter is not told."""

from gateway.core.http.received import ReceivedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.verify import VerificationFailed
from gateway.core.vendor.routing import RouteMatch
from gateway.proof.variations import cause_of_refusal

_WORTH_ASKING = (Reason.BAD_SIGNATURE, Reason.STALE)


def likely_cause(match: RouteMatch, message: ReceivedRequest, error: Exception | None, *, now_ns: int) -> str | None:
    """Say in one sentence why a report was refused; None where its reason says so itself.

    It costs up to a dozen verifications: not for every refusal.
    """
    if not isinstance(error, VerificationFailed) or error.outcome.reason not in _WORTH_ASKING:
        return None
    if message.request.header("content-encoding") is not None:
        return None  # inflated, it would cost far more than it did to send
    source = match.route.source
    checks = [check for each in (source.checks, *source.local_checks.values()) for check in each or ()]
    seen = message if source.public_url is None else message.as_sent_to(source.public_url)
    for check in checks:
        if check.recipe.name == error.recipe:
            secrets = [secret.reveal() for secret in check.keyring.by_key.get(error.key or "", ())]
            try:
                slots = read_slots(check.recipe, seen)
            except CallerError:
                return None
            return cause_of_refusal(check.recipe, seen, slots, secrets, now_ns=now_ns)
    return None
