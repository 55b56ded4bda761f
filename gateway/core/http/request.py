"""HTTP requests and responses as immutable values."""

import re
from dataclasses import dataclass, field, replace

Headers = tuple[tuple[str, str], ...]


def without_headers(headers: Headers, *names: str) -> Headers:
    """Return the headers except those with one of these lower-case names."""
    return tuple([header for header in headers if header[0].lower() not in names])


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that `str` and `repr` show as `***`; `reveal()` returns it."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        return self._text

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request exactly as on the wire, received or ready to be sent.

    `target` is path and query. `headers` keep order, case and repetitions; their values are decoded as UTF-8 with
    surrogate escapes. `body` is still compressed.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    scheme: str = "http"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header_values(self, name: str) -> list[str]:
        """Return all values of a header in wire order. Names are case-insensitive."""
        wanted = name.lower()
        return [value for header, value in self.headers if header.lower() == wanted]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        wanted = name.lower()
        for header, value in self.headers:
            if header.lower() == wanted:
                return value
        return None

    @property
    def host(self) -> str:
        return self.header("host") or ""

    @property
    def hosts(self) -> list[str]:
        """The host in lower case, with and without its port."""
        return [host := self.host.lower(), re.sub(r":\d*$", "", host)]

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.target}"

    def at(self, url: "PublicUrl") -> "Request":
        """Return the request with the scheme, host and path prefix of this URL."""
        headers = (("Host", url.host), *without_headers(self.headers, "host"))
        return replace(self, scheme=url.scheme, headers=headers, target=url.prefix + self.target)


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """A base URL: scheme, host with port, and a path prefix without a trailing slash."""

    scheme: str
    host: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of an upstream, or a reply to a reporter. `body` is not compressed."""

    status: int
    headers: Headers = ()
    body: bytes = b""
