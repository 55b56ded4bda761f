"""Remove secrets and internal addresses from messages."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.parse import quote, quote_plus

from gateway.core.expression import EvaluationError
from gateway.core.http.request import Secret
from gateway.core.http.url import address_of
from gateway.core.outcome.outcome import Outcome
from gateway.core.sending.sign import login_url
from gateway.core.vendor.route import Route, Target

# Shorter secrets are masked only as whole words, because they occur in other words by chance.
LONG_SECRET = 8
# Up to this many characters of a secret may stay at the end of a truncated message.
MIN_SHOWN_CHARS = 3


def mask_secrets(text: str, secrets: Iterable[Secret]) -> str:
    """Replace each secret by `***`, including its JSON, query and form encodings."""
    revealed = {secret.reveal() for secret in secrets if secret.reveal()}
    for encoded in sorted({form for text_ in revealed for form in _encodings(text_)}, key=len, reverse=True):
        pattern = re.escape(encoded)
        if len(encoded) < LONG_SECRET:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, "***", text)
    return text


def _encodings(text: str) -> tuple[str, ...]:
    wire = text.encode("utf-8", "surrogateescape")
    as_json = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    return text, *as_json, quote(wire, safe=""), quote_plus(wire)


def mask_outcome(outcome: Outcome, secrets: Iterable[Secret]) -> Outcome:
    """Mask secrets in the outcome's messages, because an upstream may quote a request."""
    if not outcome.message and not outcome.rejected:
        return outcome
    secrets = list(secrets)
    return outcome.with_messages(lambda message: _mask_truncated(message, secrets))


def _mask_truncated(message: str, secrets: Iterable[Secret]) -> str:
    """Mask secrets, and the beginning of a secret at the end of a message: truncation may have cut the secret."""
    message = mask_secrets(message, secrets)
    for secret in secrets:
        text = secret.reveal()
        for size in range(min(len(text), len(message)), MIN_SHOWN_CHARS, -1):
            if message.endswith(text[:size]):
                message = message[:-size] + "***"
                break
    return message


def without_addresses(outcome: Outcome, route: Route) -> Outcome:
    """Replace the addresses of the route's upstreams in the outcome's messages, because they are internal."""
    if outcome.ok or not outcome.message:
        return outcome
    addresses = sorted({address for target in route.targets for address in _addresses(target)}, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, addresses))})(?![\w.-])")
    return outcome.with_messages(lambda message: pattern.sub("the upstream", message))


def _addresses(target: Target) -> Iterator[str]:
    """Yield the addresses of a target and of its login server. A host name without dots may be a plain word."""
    urls = [target.url]
    with suppress(ValueError, EvaluationError):
        urls += [login_url(target, target.login)] if target.login else []
    for url in urls:
        address = address_of(url.scheme, url.host)
        yield address
        name = address.rpartition(":")[0]
        if "." in name or ":" in name:
            yield name
