"""Who may ask the admin API. A browser is everywhere, so that no page of another site may make it ask for anything."""

import hmac
import re
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.core.http.request import Headers, Request, Secret
from gateway.core.outcome.outcome import Code

# No page of another site can set it without asking first, which is not answered (Fetch Standard, CORS-preflight).
OURS = ("X-Gateway-Admin", "1")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Denied(Exception):
    """A call that is not answered as it was meant to be."""

    def __init__(self, status: int, code: Code, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def is_local(host: str) -> bool:
    """Tell whether only this machine reaches what listens on that host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True)
class Guard:
    """`host` is where the admin port listens. Raises Denied for whoever may not ask."""

    host: str
    token: Secret | None = None

    def admit(self, request: Request) -> None:
        """Hold a call to where it comes in, and to the token."""
        if is_local(self.host):
            self._expect_own_host(request)
        elif self.token is None:
            what = "without --admin-token, only /healthz, /readyz and /metrics are answered off loopback"
            raise Denied(403, Code.PERMISSION_DENIED, f"{what}; give serve one, as env:NAME or file:PATH")
        if self.token is not None and not _bears(request, self.token):
            what = "this needs the header Authorization: Bearer TOKEN, with the token of --admin-token"
            raise Denied(401, Code.UNAUTHENTICATED, what, (("WWW-Authenticate", "Bearer"),))

    def admit_change(self, request: Request) -> None:
        """Hold a call that changes something to what no form and no script of another site can send."""
        name, value = OURS
        if request.header(name) != value:
            raise Denied(403, Code.PERMISSION_DENIED, f"this needs the header {name}: {value}")
        kinds = [kind.partition(";")[0].strip().lower() for kind in request.header_values("content-type")]
        if kinds not in ([], ["application/json"]):
            raise Denied(415, Code.INVALID_ARGUMENT, "a body is application/json here")

    def _expect_own_host(self, request: Request) -> None:
        """A name that leads here by a DNS of others makes their pages same-site with us (DNS rebinding)."""
        hosts = request.header_values("host")
        if len(hosts) != 1 or _name(hosts[0]) not in _LOCAL | {self.host}:
            what = f"the header Host names none of {', '.join(sorted(_LOCAL | {self.host}))}"
            raise Denied(403, Code.PERMISSION_DENIED, what)


def _name(host: str) -> str:
    """Return a Host without its port and brackets."""
    return re.sub(r":\d*$", "", host.strip()).lower().strip("[]")


def _bears(request: Request, token: Secret) -> bool:
    values = request.header_values("authorization")
    scheme, _, claimed = (values[0] if len(values) == 1 else "").partition(" ")
    same = hmac.compare_digest(_bytes(claimed.strip()), _bytes(token.reveal()))
    return same and scheme.lower() == "bearer"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
