"""Remove the addresses of upstreams from messages to reporters, because they are internal."""

import re
from collections.abc import Iterator
from contextlib import suppress

from gateway.core.expression import EvaluationError
from gateway.core.http.url import address_of
from gateway.core.outcome.outcome import Outcome
from gateway.core.sending.sign import login_url
from gateway.core.vendor.route import Route, Target


def without_addresses(outcome: Outcome, route: Route) -> Outcome:
    """Replace the addresses of the route's upstreams in the outcome's messages."""
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
