"""The filters of recipe templates: a closed table of pure functions with the type each takes and gives."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, unquote_to_bytes


class Kind(StrEnum):
    """What a value is. Text and bytes join to bytes; a digest must be encoded before it joins anything."""

    TEXT = "text"
    BYTES = "bytes"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter: the kinds it takes, the kind it gives, and its argument's default, None where it takes none.

    `least_argument` is how many characters the argument has at least.
    """

    takes: frozenset[Kind]
    gives: Kind
    apply: Callable[..., Any]
    argument: str | None = None
    least_argument: int = 0


def to_bytes(value: str | bytes) -> bytes:
    """Return text as UTF-8; what was not UTF-8 on the wire becomes the wire's bytes again."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def to_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def percent(text: str, safe: str) -> str:
    """Encode all but RFC 3986's unreserved characters and those in `safe`, with upper-case hex digits."""
    return quote(to_bytes(text), safe=safe)


def unpercent(text: str, plus: str) -> str:
    """Decode percent-encoding; with the argument `+`, a plus sign is a blank."""
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


def _no_port(host: str, _: str) -> str:
    return re.sub(r":\d*$", "", host)


def _no_default_port(host: str, _: str) -> str:
    return re.sub(r":(80|443)$", "", host)


def _slash_end(path: str, _: str) -> str:
    return path if path.endswith("/") else path + "/"


def _collapse(path: str, _: str) -> str:
    return re.sub("/{2,}", "/", path)


def _strip_prefix(text: str, prefix: str) -> str:
    return text.removeprefix(prefix)


def _swap(text: str, pair: str) -> str:
    """Replace the argument's first character by the rest of it."""
    return text.replace(pair[0], pair[1:])


def _squeeze(text: str, _: str) -> str:
    return re.sub(" +", " ", text.strip(" \t"))


def _hash(name: str) -> Callable[[str | bytes, str], bytes]:
    return lambda value, _: hashlib.new(name, to_bytes(value), usedforsecurity=False).digest()


_TEXT = frozenset({Kind.TEXT})
_TEXT_OR_BYTES = frozenset({Kind.TEXT, Kind.BYTES})
_ANY = frozenset(Kind)


def _on_text(apply: Callable[[str, str], str], argument: str | None = None, least_argument: int = 0) -> Filter:
    return Filter(_TEXT, Kind.TEXT, apply, argument, least_argument)


def _encodes(apply: Callable[[str | bytes, str], str]) -> Filter:
    return Filter(_ANY, Kind.TEXT, apply)


FILTERS = {
    "percent": _on_text(percent, ""),
    "unpercent": _on_text(unpercent, ""),
    "dots": _on_text(dots),
    "collapse": _on_text(_collapse),
    "slash_end": _on_text(_slash_end),
    "strip_prefix": _on_text(_strip_prefix, "", 1),
    "swap": _on_text(_swap, "", 2),
    "lower": _on_text(lambda text, _: text.lower()),
    "upper": _on_text(lambda text, _: text.upper()),
    "trim": _on_text(lambda text, _: text.strip(" \t")),
    "squeeze": _on_text(_squeeze),
    "no_port": _on_text(_no_port),
    "no_default_port": _on_text(_no_default_port),
    "size": Filter(_TEXT_OR_BYTES, Kind.TEXT, lambda value, _: str(len(to_bytes(value)))),
    "sha1": Filter(_TEXT_OR_BYTES, Kind.DIGEST, _hash("sha1")),
    "sha256": Filter(_TEXT_OR_BYTES, Kind.DIGEST, _hash("sha256")),
    "sha512": Filter(_TEXT_OR_BYTES, Kind.DIGEST, _hash("sha512")),
    "sm3": Filter(_TEXT_OR_BYTES, Kind.DIGEST, _hash("sm3")),
    "md5": Filter(_TEXT_OR_BYTES, Kind.DIGEST, _hash("md5")),
    "hex": _encodes(lambda value, _: to_bytes(value).hex()),
    "HEX": _encodes(lambda value, _: to_bytes(value).hex().upper()),
    "base64": _encodes(lambda value, _: base64.b64encode(to_bytes(value)).decode()),
    "base64url": _encodes(lambda value, _: base64.urlsafe_b64encode(to_bytes(value)).decode()),
    "unbase64": Filter(_TEXT, Kind.BYTES, lambda text, _: base64.b64decode(text)),
}
