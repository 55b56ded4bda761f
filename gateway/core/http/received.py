"""A received request. Each part is parsed on first use, at most once."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import parse_qsl

from gateway.core.http.json import TooManyParts, read_json
from gateway.core.http.request import PublicUrl, Request
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason

T = TypeVar("T")
BodyKind = Literal["json", "form", "text", "none"]
Pairs = list[tuple[str, str]]

MAX_GZIP_MEMBERS = 16
_WINDOWS = {
    "gzip": [zlib.MAX_WBITS | 16],
    "x-gzip": [zlib.MAX_WBITS | 16],
    # RFC 9110, section 8.4.1.2 requires the zlib format; some clients send raw deflate.
    "deflate": [zlib.MAX_WBITS, -zlib.MAX_WBITS],
}


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits of one request: bytes of the inflated body, and parameters of a query, a form or signed JSON."""

    inflated_bytes: int = 8_388_608
    parameters: int = 2_000


DEFAULT_CAPS = Caps()
NO_CAPS = Caps(2**62, 2**62)


class BodyNeeded(Exception):
    """A decision requires the body, which has not been read yet."""


class parsed(Generic[T]):
    """A decorator for a property that is computed once, on first use.

    `functools.cached_property` takes a lock on Python 3.11, which costs more than parsing most parts of a request.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, owner: Any, kind: type | None = None) -> T:
        value = owner.__dict__[self._name] = self._compute(owner)
        return value


class ReceivedRequest:
    """A request with its parsed parts. `body_kind` selects the parser of the body.

    `head_only` marks a request whose body has not been read yet.
    """

    def __init__(
        self, request: Request, body_kind: BodyKind, caps: Caps = DEFAULT_CAPS, *, head_only: bool = False
    ) -> None:
        self.request = request
        self.body_kind = body_kind
        self.caps = caps
        self.head_only = head_only

    @property
    def is_encoded(self) -> bool:
        return "content-encoding" in self.request.header_index

    def as_sent_to(self, url: PublicUrl) -> "ReceivedRequest":
        """Return the request as the client sent it, before a proxy changed its URL and Host."""
        return ReceivedRequest(self.request.at(url), self.body_kind, self.caps, head_only=self.head_only)

    @property
    def content(self) -> bytes:
        """The body without its Content-Encoding. Raises CallerError: NOT_PARSED, BAD_HEADER or TOO_LARGE."""
        return self._decoded if self.is_encoded else self.request.body

    @parsed
    def _decoded(self) -> bytes:
        encodings = [
            encoding
            for value in self.request.header_values("content-encoding")
            for part in value.split(",")
            if (encoding := part.strip().lower()) not in ("", "identity")
        ]
        if len(encodings) > 1:
            raise CallerError.of(Reason.BAD_HEADER, "more than one Content-Encoding")
        return inflate(self.request.body, encodings[0], self.caps.inflated_bytes) if encodings else self.request.body

    @parsed
    def body(self) -> Any:
        """The parsed body: a JSON value, a map of form fields, text, or None. Raises CallerError as `content` does."""
        if self.body_kind == "form":
            return as_map(self.form)
        if self.body_kind != "json":
            return self._text() if self.body_kind == "text" else None
        content = self.content
        if not content:
            raise CallerError.of(Reason.NOT_PARSED, "the body is empty, and JSON is expected")
        try:
            return read_json(content)
        except TooManyParts as error:
            raise CallerError.of(Reason.TOO_LARGE, f"the body has {error}") from error
        except ValueError as error:
            raise CallerError.of(Reason.NOT_PARSED, f"the body is not JSON: {error}") from error

    @parsed
    def form(self) -> Pairs:
        return self._parameters(self._text())

    @parsed
    def query(self) -> Pairs:
        return self._parameters(self.request.query)

    @parsed
    def bound_query(self) -> Pairs:
        """The pairs of the query that have an equals sign."""
        return self._parameters("&".join(part for part in self.request.query.split("&") if "=" in part))

    @parsed
    def headers(self) -> dict[str, str]:
        """Header names in lower case with `_` for `-`; repeated headers are joined by a comma (RFC 9110, section 5.3).

        Names that contain `_` are left out: they could be confused with a signed name that has a `-`.
        """
        index = self.request.header_index
        return {name.replace("-", "_"): ", ".join(values) for name, values in index.items() if "_" not in name}

    def _text(self) -> str:
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CallerError.of(Reason.NOT_PARSED, "the body is not UTF-8") from error

    def _parameters(self, text: str) -> Pairs:
        try:
            return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=self.caps.parameters)
        except UnicodeDecodeError as error:
            raise CallerError.of(Reason.NOT_PARSED, "a parameter is not UTF-8") from error
        except ValueError:
            raise self.too_many() from None

    def too_many(self) -> CallerError:
        return CallerError.of(Reason.NOT_PARSED, f"more than {self.caps.parameters} parameters")


def guess_body_kind(request: Request) -> BodyKind:
    """Guess the kind of a body by its Content-Type, else by its first character."""
    if not request.body:
        return "none"
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":
        return "form"
    if media_type.endswith("json") or request.body.lstrip()[:1] in (b"{", b"["):
        return "json"
    return "text"


def as_map(pairs: Pairs) -> dict[str, Any]:
    """Return a map of the pairs. A repeated name maps to the list of its values."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: every if len(every) > 1 else every[0] for name, every in values.items()}


def inflate(data: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decode one Content-Encoding. Raises CallerError: BAD_HEADER if it is unknown, NOT_PARSED or TOO_LARGE."""
    if encoding not in _WINDOWS:
        raise CallerError.of(Reason.BAD_HEADER, f"Content-Encoding {encoding!r} is not known; gzip and deflate are")
    for bits in _WINDOWS[encoding]:
        try:
            return _inflate(data, bits, max_bytes)
        except zlib.error:
            continue
    raise CallerError.of(Reason.NOT_PARSED, f"the body is not {encoding}")


def _inflate(data: bytes, bits: int, max_bytes: int) -> bytes:
    out = b""
    # A gzip body may have several members (RFC 1952, section 2.2). Each costs a copy of the rest of the body: without a
    # limit, a body of empty members would take quadratic time.
    for _ in range(MAX_GZIP_MEMBERS):
        inflater = zlib.decompressobj(bits)
        out += inflater.decompress(data, max_bytes + 1 - len(out))
        if len(out) > max_bytes:
            raise CallerError.of(Reason.TOO_LARGE, f"the inflated body is larger than {max_bytes} bytes")
        if not inflater.eof:
            raise zlib.error("incomplete")
        data = inflater.unused_data
        if not data:
            return out
    raise zlib.error("too many members")
