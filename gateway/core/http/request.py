"""HTTP requests and responses as immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.core.record import record

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


@record
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
    _header_index: Mapping[str, list[str]] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def header_index(self) -> Mapping[str, list[str]]:
        """The values of each header in wire order, by its name in lower case."""
        # An index: a request with 1,000 headers that are all listed as signed must not cause 1,000 scans of 1,000.
        if self._header_index is None:
            values = {name.lower(): [value] for name, value in self.headers}
            if len(values) < len(self.headers):  # a header is repeated
                values = {name: [] for name in values}
                for name, value in self.headers:
                    values[name.lower()].append(value)
            object.__setattr__(self, "_header_index", values)
            return values
        return self._header_index

    def header_values(self, name: str) -> list[str]:
        """Return all values of a header in wire order. Names are case-insensitive."""
        return self.header_index.get(name.lower(), [])

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        values = self.header_index.get(name.lower())
        return values[0] if values else None

    def with_body(self, body: bytes) -> "Request":
        """Return the request with another body, and with the index of its headers."""
        request = Request(self.method, self.target, self.headers, body, self.scheme)
        object.__setattr__(request, "_header_index", self._header_index)
        return request

    @property
    def host(self) -> str:
        return self.header("host") or ""

    @property
    def hosts(self) -> list[str]:
        """The host in lower case, with and without its port."""
        host = self.host.lower()
        name, colon, port = host.rpartition(":")
        return [host, name if colon and (not port or port.isdecimal()) else host]

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


@record
class Response:
    """An answer of an upstream, or a reply to a reporter. `body` is not compressed."""

    status: int
    headers: Headers = ()
    body: bytes = b""
