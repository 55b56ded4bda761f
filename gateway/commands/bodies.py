"""Tells how the body of a pasted request is to be read, where no route says so."""

from gateway.core.message import BodyKind
from gateway.core.model import Request


def body_kind_of(request: Request) -> BodyKind:
    """Judge by Content-Type, else by the first character."""
    if not request.body:
        return "none"
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":
        return "form"
    if media_type.endswith("json") or request.body.lstrip()[:1] in (b"{", b"["):
        return "json"
    return "text"
