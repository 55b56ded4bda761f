"""Access to the admin API: the token, and protection against CSRF and DNS rebinding."""

import hmac
import re
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.core.http.request import Headers, Request, Secret
from gateway.core.outcome.outcome import Code

# A page of another site can set this header only after a CORS preflight, which the admin API does not answer.
CSRF_HEADER = ("X-Gateway-Admin", "1")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Denied(Exception):
    """A rejected call of the admin API."""

    def __init__(self, status: int, code: Code, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def is_local(host: str) -> bool:
    """True if only this machine can connect to that host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True)
class Guard:
    """Checks calls of the admin API and raises Denied. `host` is the address of the admin port."""

    host: str
    token: Secret | None = None

    def admit(self, request: Request) -> None:
        """Check the Host header on loopback, and the token."""
        if is_local(self.host):
            names = [re.sub(r":\d*$", "", host.strip()).lower().strip("[]") for host in request.header_values("host")]
            if len(names) != 1 or names[0] not in _LOCAL | {self.host}:  # another name for this address: DNS rebinding
                what = f"the header Host must be one of {', '.join(sorted(_LOCAL | {self.host}))}"
                raise Denied(403, Code.PERMISSION_DENIED, what)
        elif self.token is None:
            what = "off loopback, the admin API requires a token: start serve with --admin-token env:NAME or file:PATH"
            raise Denied(403, Code.PERMISSION_DENIED, what)
        if self.token is not None and not _bears(request, self.token):
            what = "the admin API requires the header Authorization: Bearer TOKEN with the token of --admin-token"
            raise Denied(401, Code.UNAUTHENTICATED, what, (("WWW-Authenticate", "Bearer"),))

    def admit_change(self, request: Request) -> None:
        """Require what forms and scripts of other sites cannot send. Applies to calls that change something."""
        name, value = CSRF_HEADER
        if request.header(name) != value:
            raise Denied(403, Code.PERMISSION_DENIED, f"calls that change something require the header {name}: {value}")
        kinds = [kind.partition(";")[0].strip().lower() for kind in request.header_values("content-type")]
        if kinds not in ([], ["application/json"]):
            raise Denied(415, Code.INVALID_ARGUMENT, "the Content-Type of the body must be application/json")


def _bears(request: Request, token: Secret) -> bool:
    values = request.header_values("authorization")
    scheme, _, claimed = (values[0] if len(values) == 1 else "").partition(" ")
    texts = [text.encode("utf-8", "surrogateescape") for text in (claimed.strip(), token.reveal())]
    return hmac.compare_digest(*texts) and scheme.lower() == "bearer"
