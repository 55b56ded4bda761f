"""Masks secrets in texts that people see."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote, quote_plus

from gateway.core.http.request import Secret
from gateway.core.outcome.outcome import Outcome

# A shorter secret is masked only where it stands alone: inside other words it would be there by chance.
LONG_SECRET = 8
# Up to this many characters of a secret may stay at the end of a truncated message.
MIN_SHOWN_CHARS = 3


def mask_secrets(text: str, secrets: Iterable[Secret]) -> str:
    """Return the text with each secret as `***`, also where JSON, a query or a form writes it in its own way."""
    shown = {secret.reveal() for secret in secrets if secret.reveal()}
    for form in sorted({form for each in shown for form in _forms(each)}, key=len, reverse=True):
        pattern = re.escape(form)
        if len(form) < LONG_SECRET:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, "***", text)
    return text


def mask_outcome(outcome: Outcome, secrets: Iterable[Secret]) -> Outcome:
    """Replace each secret in the outcome's messages: an upstream may quote what we sent it."""
    if not outcome.message and not outcome.rejected:
        return outcome
    secrets = list(secrets)
    rejected = tuple(replace(each, message=_mask_truncated(each.message, secrets)) for each in outcome.rejected)
    return replace(outcome, message=_mask_truncated(outcome.message, secrets), rejected=rejected)


def _mask_truncated(message: str, secrets: Iterable[Secret]) -> str:
    message = mask_secrets(message, secrets)
    for secret in secrets:
        # What the upstream said was cut, and the cut may have gone through a secret.
        text = secret.reveal()
        for size in range(min(len(text), len(message)), MIN_SHOWN_CHARS, -1):
            if message.endswith(text[:size]):
                message = message[:-size] + "***"
                break
    return message


def _forms(text: str) -> tuple[str, ...]:
    wire = text.encode("utf-8", "surrogateescape")
    as_json = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    return text, *as_json, quote(wire, safe=""), quote_plus(wire)
