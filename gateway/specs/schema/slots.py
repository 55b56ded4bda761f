"""The keys of a recipe's `slots`, by kind."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from gateway.core.recipe.canonical import HeaderRule
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import (
    ChosenSlot,
    DerivedSlot,
    Encoding,
    GivenSlot,
    KeySlot,
    LifetimeSlot,
    NonceSlot,
    SecretSlot,
    SignatureSlot,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.syntax import RecipeError, Template, compile_template
from gateway.core.recipe.times import EPOCHS, HTTP_CHARS, PATTERN_CHARS
from gateway.core.text import did_you_mean
from gateway.specs.binding.place import Invalid, Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.binding.types import (
    BOOLEAN,
    COUNT,
    PATTERN,
    TEXT,
    Plain,
    list_of,
    list_or,
    map_of,
    number,
    word,
)
from gateway.specs.yaml.nodes import MapNode

DEFAULT_CHARS = r"[^\s,/:;]+"
_CHOSEN_CHARS = "[A-Za-z0-9!#$%&'*+.^_`|~@();-]+"
_SIGNATURE_CHARS: dict[Encoding, str] = {
    "hex": "[0-9a-f]+",
    "HEX": "[0-9A-F]+",
    "base64": "[A-Za-z0-9+/=]+",
    "base64url": "[A-Za-z0-9_=-]+",
    "base64hex": "[A-Za-z0-9+/=]+",
}
HASH = word(("sha1", "sha256", "sha512", "md5", "sm3"))
_OFFSET = r"utc|[+-][0-9]{2}:[0-9]{2}"
_TEXTS = list_of(TEXT)


def compile_at(place: Place, kinds: Mapping[str, Kind]) -> Template:
    """Compile a template. Its names have these kinds."""
    try:
        return compile_template(TEXT.read(place), kinds)
    except RecipeError as error:
        place.error(error.what, error.hint)
        raise Invalid from None


def _read_offset(place: Place) -> int:
    """Return the seconds of `utc`, `+08:00` or `-03:30`."""
    written = TEXT.read(place)
    if not re.fullmatch(_OFFSET, written):
        raise place.expected("utc, or an offset such as +08:00")
    if written == "utc":
        return 0
    seconds = int(written[1:3]) * 3600 + int(written[4:6]) * 60
    return seconds if written[0] == "+" else -seconds


def _read_reading(place: Place) -> Literal["named"] | int:
    return "named" if place.value == "named" else _read_offset(place)


def _read_format(place: Place) -> str:
    written, known = str(TEXT.read(place)), {*EPOCHS, "http"}
    if written not in known and "%" not in written:
        hint = f"write {', '.join(sorted(known))}, or a strftime pattern such as %Y%m%d"
        place.error(f"unknown time format {written!r}", hint)
        raise Invalid
    return written


def _read_nonce(place: Place) -> tuple[int | None, int | None]:
    """Return the bounds of an integer nonce; None for a UUID."""
    written = TEXT.read(place)
    bounds = re.fullmatch(r"int:(\d{1,18})\.\.(\d{1,18})", written)
    if bounds and int(bounds[1]) < int(bounds[2]):
        return int(bounds[1]), int(bounds[2])
    if written != "uuid4":
        place.error(f"unknown kind of nonce {written!r}", "write uuid4, or int:LOW..HIGH")
        raise Invalid
    return None, None


def slots_of_kind(place: Place, kind: str) -> list[str]:
    """Return the names of the recipe's slots of this kind."""
    slots = place.scope.document.node.entries.get("slots")
    kinds = {
        name: getattr(node.entries.get("kind"), "value", None)
        for name, node in (slots.entries if isinstance(slots, MapNode) else {}).items()
        if isinstance(node, MapNode)
    }
    return [name for name in kinds if kinds[name] == kind]


def _read_time_name(place: Place) -> str:
    name, times = str(TEXT.read(place)), slots_of_kind(place, "time")
    if name not in times:
        place.error(f"no slot of kind time is named {name!r}", did_you_mean(name, times))
        raise Invalid
    return name


TEMPLATE = Plain("template", lambda place: compile_at(place, place.scope.kinds), {"type": "string"})
OFFSET = Plain("`utc`, `+08:00`", _read_offset, {"type": "string", "pattern": f"^(?:{_OFFSET})$"})
READING = Plain("`named` or offset", _read_reading, {"type": "string", "pattern": f"^(?:named|{_OFFSET})$"})
FORMAT = Plain("time format", _read_format, {"type": "string"})
TIME_NAME = Plain("name of a slot", _read_time_name, {"type": "string"})
NONCE = Plain("`uuid4`, `int:LOW..HIGH`", _read_nonce, {"type": "string"})
CHARS = Plain("pattern", lambda place: PATTERN.read(place).pattern, {"type": "string"})


def _choose(
    names: Sequence[str] = (),
    prefix: Sequence[str] = (),
    all: bool = False,
    except_: Sequence[str] = (),
    order: Literal["sorted", "as_listed"] = "sorted",
) -> HeaderRule:
    return HeaderRule(_lower(names), _lower(prefix), all, _lower(except_), order == "as_listed")


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


CHOOSE = Table(
    "choose",
    _choose,
    Key("names", _TEXTS, "header names"),
    Key("prefix", _TEXTS, "prefixes of header names"),
    Key("all", BOOLEAN, "`true`: all headers"),
    Key("except", _TEXTS, "names to leave out; `*_*`: names with an underscore; `x-*`: names that begin with `x-`"),
    Key("order", word(("sorted", "as_listed")), "`sorted`, or `as_listed` in `names`"),
)
MUST = Table(
    "must", lambda any: any, Key("any", list_of(_TEXTS, at_least=1), "lists of headers, one of which must be complete")
)


def _time(
    name: str,
    format: str,
    chars: str = "",
    tz: int = 0,
    window_s: float = 300,
    read: Sequence[Literal["named"] | int] = (),
    zones: Mapping[str, int] | None = None,
) -> TimeSlot:
    return TimeSlot(name, chars or _time_chars(format, bool(read)), format, tz, window_s, tuple(read), zones or {})


def _time_part(name: str, of: str, format: str, chars: str = "", tz: int = 0) -> TimePartSlot:
    return TimePartSlot(name, chars or _time_chars(format, False), of, format, tz)


def _time_chars(format: str, is_date: bool) -> str:
    if format in EPOCHS:
        return EPOCHS[format][1]
    return HTTP_CHARS if format == "http" or is_date else PATTERN_CHARS


def _nonce(name: str, chars: str = "", make: tuple[int | None, int | None] = (None, None)) -> NonceSlot:
    return NonceSlot(name, chars or (DEFAULT_CHARS if make[0] is None else "[0-9]{1,20}"), *make)


def _chosen(
    name: str,
    choose: HeaderRule,
    must: Sequence[Any],
    chars: str = "",
    sep: str = ";",
    wrap: str = "",
    empty: Literal["rule"] | None = None,
) -> ChosenSlot:
    alternatives = [must] if not must or isinstance(must[0], str) else must
    needed = tuple(frozenset(_lower(each)) for each in alternatives)
    chars = chars or (_CHOSEN_CHARS if empty is None else f"(?:{_CHOSEN_CHARS})?")
    return ChosenSlot(name, chars, choose, sep, wrap, needed, empty == "rule")


def _signature(
    at: Place,
    name: str,
    of: Template,
    as_: Encoding,
    chars: str = "",
    hmac: str | None = None,
    hash: str | None = None,
    rsa: str | None = None,
    key: Template | None = None,
) -> SignatureSlot:
    methods: dict[Literal["hmac", "hash", "rsa"], str | None] = {"hmac": hmac, "hash": hash, "rsa": rsa}
    stated = [(method, value) for method, value in methods.items() if value is not None]
    if len(stated) != 1:
        at.error("a signature is made by one of hmac, hash and rsa")
        raise Invalid
    method, algorithm = stated[0]
    if (method == "hmac") != (key is not None):
        at.error("`hmac` and `key` belong together")
    elif key is not None and key.source == "":
        at.error("the HMAC key is empty", "", "key")
    # What a signature is made of is fixed by `as`.
    return SignatureSlot(name, _SIGNATURE_CHARS[as_], of, method, algorithm.removeprefix("pkcs1-"), key, as_)


_CHARS = Key("chars", CHARS, "pattern; the default has no blank, comma, slash, colon or semicolon")
SLOTS = (
    Table("key slot", partial(KeySlot, chars=DEFAULT_CHARS), _CHARS, kind="key"),
    Table("secret slot", partial(SecretSlot, chars=DEFAULT_CHARS), _CHARS, kind="secret"),
    Table(
        "given slot",
        partial(GivenSlot, chars=DEFAULT_CHARS, default=None, optional=False),
        _CHARS,
        Key("default", TEXT, "the value if there is none in `given`"),
        Key("optional", BOOLEAN, "`true`: may be absent"),
        kind="given",
    ),
    Table(
        "time slot",
        _time,
        _CHARS,
        Key("format", FORMAT, "`epoch`, `epoch_ms`, `http` (RFC 9110), or a strftime pattern, always in English"),
        Key("tz", OFFSET, "the time zone: `utc` (the default) or an offset"),
        Key("window_s", number(0, at_most=3600), "the greatest distance from now, at most 3600"),
        Key(
            "read",
            list_of(READING, at_most=4),
            "how to interpret a time whose zone cannot be trusted: `named` (by its zone), `utc`, or an offset; "
            "the first within the window is used",
        ),
        Key("zones", map_of(OFFSET), "offsets of zone names"),
        kind="time",
    ),
    Table(
        "time_part slot",
        _time_part,
        _CHARS,
        Key("of", TIME_NAME, "the slot of kind time"),
        Key("format", FORMAT, "as in a slot of kind time"),
        Key("tz", OFFSET, "the time zone: `utc` (the default) or an offset"),
        kind="time_part",
    ),
    Table(
        "lifetime slot",
        partial(LifetimeSlot, chars="[0-9]{1,6}", default_s=1800),
        _CHARS,
        Key("default", COUNT, "seconds", to="default_s"),
        kind="lifetime",
    ),
    Table(
        "nonce slot",
        _nonce,
        _CHARS,
        Key("make", NONCE, "how it is generated: `uuid4` (the default) or `int:LOW..HIGH`"),
        kind="nonce",
    ),
    Table(
        "chosen slot",
        _chosen,
        _CHARS,
        Key("choose", CHOOSE, "the headers to sign"),
        Key("must", list_or("list, or map", _TEXTS, MUST), "headers that must be signed; `any` gives alternatives"),
        Key("sep", TEXT, "the separator of the names"),
        Key("wrap", TEXT, "surrounds each name"),
        Key("empty", word(("rule",)), "`rule`: an empty list means the headers that `choose` selects"),
        kind="chosen",
    ),
    Table(
        "derived slot",
        partial(DerivedSlot, chars=DEFAULT_CHARS, allow=()),
        _CHARS,
        Key("text", TEMPLATE, "the value", to="of"),
        Key("allow", _TEXTS, "literals that are accepted instead, such as `UNSIGNED-PAYLOAD`"),
        kind="derived",
    ),
    Table(
        "signature slot",
        _signature,
        _CHARS,
        Key("of", TEMPLATE, "what is signed"),
        Key("hmac", HASH, "the hash of an HMAC, with `key`"),
        Key("hash", HASH, "a plain hash"),
        Key(
            "rsa",
            word(("pkcs1-sha256", "pkcs1-sha512")),
            "an RSA signature. The secret is a PEM key, private to sign, public or private to verify. It needs "
            "the extra `rsa`",
        ),
        Key("key", TEMPLATE, "the key of the HMAC"),
        Key("as", word(_SIGNATURE_CHARS), "the encoding; `base64hex` is base64 of the hex digits"),
        kind="signature",
    ),
)
