"""Masks secrets in texts that people see."""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from gateway.core.http.request import Secret

# A shorter secret is masked only where it stands alone: inside other words it would be there by chance.
LONG_SECRET = 8


def mask_secrets(text: str, secrets: Iterable[Secret]) -> str:
    """Return the text with each secret as `***`, also where JSON, a query or a form writes it in its own way."""
    shown = {secret.reveal() for secret in secrets if secret.reveal()}
    for form in sorted({form for each in shown for form in _forms(each)}, key=len, reverse=True):
        pattern = re.escape(form)
        if len(form) < LONG_SECRET:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, "***", text)
    return text


def _forms(text: str) -> tuple[str, ...]:
    wire = text.encode("utf-8", "surrogateescape")
    as_json = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    return text, *as_json, quote(wire, safe=""), quote_plus(wire)
