"""The filters of recipe templates: a closed table of pure functions, each with the kinds it takes and gives."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import quote, unquote_to_bytes


class Kind(StrEnum):
    """The type of a value. Text and bytes join to bytes; a digest must be encoded first."""

    TEXT = "text"
    BYTES = "bytes"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter. `argument` is the default of its argument, or None if it takes none."""

    takes: frozenset[Kind]
    gives: Kind
    apply: Callable[..., Any]
    argument: str | None = None
    min_argument_chars: int = 0


def to_bytes(value: str | bytes) -> bytes:
    """Return text as UTF-8; surrogates become the bytes of the wire that were not UTF-8."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def to_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def percent(text: str, safe: str) -> str:
    """Percent-encode all but RFC 3986's unreserved characters and those in `safe`, in upper-case hex."""
    return quote(to_bytes(text), safe=safe)


def unpercent(text: str, plus: str) -> str:
    """Decode percent-encoding; with the argument `+`, a plus sign is a space."""
    return to_text(unquote_to_bytes(to_bytes(text.replace("+", " ") if plus else text)))


def dots(path: str, _: str) -> str:
    """Remove `.` and `..` segments (RFC 3986, section 5.2.4) and repeated slashes."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    ends_in_slash = path.endswith(("/", "/.", "/.."))
    return "/" + "/".join(kept) + ("/" if kept and ends_in_slash else "")


def _hash(name: str) -> Filter:
    new = getattr(hashlib, name, partial(hashlib.new, name))  # sm3 has no function of its own

    def apply(value: str | bytes, _: str) -> bytes:
        digest: bytes = new(to_bytes(value), usedforsecurity=False).digest()
        return digest

    return Filter(_TEXT_OR_BYTES, Kind.DIGEST, apply)


_TEXT = frozenset({Kind.TEXT})
_TEXT_OR_BYTES = frozenset({Kind.TEXT, Kind.BYTES})


def _on_text(apply: Callable[[str, str], str], argument: str | None = None, min_argument_chars: int = 0) -> Filter:
    return Filter(_TEXT, Kind.TEXT, apply, argument, min_argument_chars)


def _encoding(apply: Callable[[bytes], str]) -> Filter:
    return Filter(frozenset(Kind), Kind.TEXT, lambda value, _: apply(to_bytes(value)))


FILTERS = {
    "percent": _on_text(percent, ""),
    "unpercent": _on_text(unpercent, ""),
    "dots": _on_text(dots),
    "collapse": _on_text(lambda path, _: re.sub("/{2,}", "/", path)),
    "slash_end": _on_text(lambda path, _: path if path.endswith("/") else path + "/"),
    "strip_prefix": _on_text(lambda text, prefix: text.removeprefix(prefix), "", 1),
    "swap": _on_text(lambda text, pair: text.replace(pair[0], pair[1:]), "", 2),
    "lower": _on_text(lambda text, _: text.lower()),
    "upper": _on_text(lambda text, _: text.upper()),
    "trim": _on_text(lambda text, _: text.strip(" \t")),
    "squeeze": _on_text(lambda text, _: re.sub(" +", " ", text.strip(" \t"))),
    "no_port": _on_text(lambda host, _: re.sub(r":\d*$", "", host)),
    "no_default_port": _on_text(lambda host, _: re.sub(r":(80|443)$", "", host)),
    "size": Filter(_TEXT_OR_BYTES, Kind.TEXT, lambda value, _: str(len(to_bytes(value)))),
    "sha1": _hash("sha1"),
    "sha256": _hash("sha256"),
    "sha512": _hash("sha512"),
    "sm3": _hash("sm3"),
    "md5": _hash("md5"),
    "hex": _encoding(lambda data: data.hex()),
    "HEX": _encoding(lambda data: data.hex().upper()),
    "base64": _encoding(lambda data: base64.b64encode(data).decode()),
    "base64url": _encoding(lambda data: base64.urlsafe_b64encode(data).decode()),
    "unbase64": Filter(_TEXT, Kind.BYTES, lambda text, _: base64.b64decode(text)),
}
