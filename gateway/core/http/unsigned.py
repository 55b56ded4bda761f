"""An upstream request before it is signed: its parts are values, to which a signature can be added."""

import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode

from gateway.core.http.json import write_json
from gateway.core.http.received import BodyKind
from gateway.core.http.request import Headers, Request, without_headers
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.record import record

_CONTENT_TYPE = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
}
Pair = tuple[str, str]

_LINE_BREAK = re.compile("[\r\n\0]")


@record
class UnsignedRequest:
    """A request to `scheme://host` + `path`.

    `path` is percent-encoded and may end in a query; `query` and form fields are not encoded. By `body_kind`, `body` is
    a JSON value, a tuple of form fields, text or None; bytes are sent unchanged.
    """

    method: str
    scheme: str
    host: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Headers = ()
    body_kind: BodyKind = "none"
    body: Any = None

    @classmethod
    def of(cls, request: Request, body_kind: BodyKind, body: Any, query: tuple[tuple[str, str], ...]) -> Self:
        """Return a received request as its client had it before signing."""
        headers = without_headers(request.headers, "host", "content-length")
        return cls(request.method, request.scheme, request.host, request.path, query, headers, body_kind, body)

    def with_header(self, name: str, value: str) -> Self:
        """Set a header, replacing all headers of that name."""
        headers, lower = self.headers, name.lower()
        for each, _ in headers:
            if each.lower() == lower:
                headers = without_headers(headers, lower)
                break
        headers = (*headers, (name, value))
        # `dataclasses.replace` takes three times as long.
        return type(self)(
            self.method, self.scheme, self.host, self.path, self.query, headers, self.body_kind, self.body
        )

    def with_parts(
        self, headers: Mapping[str, Pair], query: Mapping[str, Pair], fields: Mapping[tuple[str, ...], str | int]
    ) -> Self:
        """Set headers by their lower-case names, query parameters, and members of the JSON body or fields of the form.

        They replace all of the same name. Raises SpecError if the body has no place for a member.
        """
        all_headers, pairs = self.headers, self.query
        if headers:
            all_headers = (*[header for header in self.headers if header[0].lower() not in headers], *headers.values())
        if query:
            pairs = (*[pair for pair in self.query if pair[0] not in query], *query.values())
        body = self._body_with(fields) if fields else self.body
        return type(self)(self.method, self.scheme, self.host, self.path, pairs, all_headers, self.body_kind, body)

    def _body_with(self, fields: Mapping[tuple[str, ...], str | int]) -> Any:
        if self.body_kind == "form":
            replaced = {path[0]: str(value) for path, value in fields.items()}
            return (*[field for field in self.body if field[0] not in replaced], *replaced.items())
        body = self.body
        for path, value in fields.items():
            body = _with_member(body, path, value, is_copy=body is not self.body)
        return body

    def render(self, body: bytes | None = None) -> Request:
        """Return the request exactly as it is sent. `body` is the serialised body, if it is known. Raises SpecError."""
        target = self.path
        if self.query:
            target += ("&" if "?" in target else "?") + urlencode(self.query, quote_via=quote, safe="")
        headers = (("Host", self.host), *self.headers)
        if _LINE_BREAK.search("".join([value for _, value in headers])):
            broken = next(name for name, value in headers if _LINE_BREAK.search(value))
            raise SpecError.of(Reason.INTERNAL, f"the header {broken} would contain a line break")
        content_type = _CONTENT_TYPE.get(self.body_kind)
        if content_type is not None and "content-type" not in [name.lower() for name, _ in headers]:
            headers = (*headers, ("Content-Type", content_type))
        return Request(self.method, target, headers, self.body_bytes() if body is None else body, self.scheme)

    def body_bytes(self) -> bytes:
        """Return the serialised body. Raises SpecError."""
        if isinstance(self.body, bytes):
            return self.body
        if self.body_kind == "json":
            try:
                return write_json(self.body)
            except ValueError as error:
                raise SpecError.of(Reason.INTERNAL, f"the body cannot be written as JSON: {error}") from error
        if self.body_kind == "form":
            return urlencode(self.body).encode()
        if self.body_kind == "text":
            return str(self.body).encode()
        return b""


def _with_member(body: Any, path: tuple[str, ...], value: Any, *, is_copy: bool = False) -> dict[str, Any]:
    """Set a member of a copy of the body; of the body itself if that is a copy already."""
    if not isinstance(body, dict | None):
        raise SpecError.of(Reason.INTERNAL, f"the body has no place for {path[0]!r}: it is not an object")
    members = body if is_copy and body is not None else dict(body or {})
    head = path[0]
    members[head] = value if len(path) == 1 else _with_member(members.get(head), path[1:], value)
    return members
