"""The values that pass from stage to stage. They are frozen, and hold no behaviour beyond reading themselves."""

from dataclasses import dataclass, field, replace

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that is never shown: its `str` and `repr` are `***`. `reveal()` is the only way to the text."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        return self._text

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, received or ready to be sent, with nothing normalised.

    `target` is path and query as on the wire. `headers` keep wire order, case and repeats; their values are the wire's
    bytes read as UTF-8, what is not UTF-8 kept as surrogate escapes. `body` is as on the wire, still compressed.
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
        """Return each value of the header, in wire order; the name compares without case."""
        wanted = name.lower()
        return [value for header, value in self.headers if header.lower() == wanted]

    def header(self, name: str) -> str | None:
        """Return the header's first value, or None."""
        values = self.header_values(name)
        return values[0] if values else None

    @property
    def host(self) -> str:
        return self.header("host") or ""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.target}"

    def at(self, url: "PublicUrl") -> "Request":
        """Return the request as its client sees it, who sent it to this URL."""
        headers = tuple(header for header in self.headers if header[0].lower() != "host")
        return replace(self, scheme=url.scheme, headers=(("Host", url.host), *headers), target=url.prefix + self.target)


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """A base URL: scheme, host with its port, and the path in front of every other, without a last slash."""

    scheme: str
    host: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: the upstream's answer to us, or our reply to the reporter. `body` is never compressed."""

    status: int
    headers: Headers = ()
    body: bytes = b""
