"""The keys of a recipe's `slots`, by kind."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from gateway.core.recipe.canonical import HeaderRule
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.slots import (
    ChosenSlot,
    DerivedSlot,
    GivenSlot,
    KeySlot,
    LifetimeSlot,
    NonceSlot,
    SecretSlot,
    SignatureSlot,
    Slot,
    TimePartSlot,
    TimeSlot,
)
from gateway.core.recipe.syntax import RecipeError, Template, compile_template
from gateway.core.recipe.times import EPOCHS, HTTP_CHARS, PATTERN_CHARS
from gateway.core.text import did_you_mean
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.yaml.nodes import find

DEFAULT_CHARS = r"[^\s,/:;]+"
_CHOSEN_CHARS = "[A-Za-z0-9!#$%&'*+.^_`|~@();-]+"
_SIGNATURE_CHARS: dict[str, str] = {
    "hex": "[0-9a-f]+",
    "HEX": "[0-9A-F]+",
    "base64": "[A-Za-z0-9+/=]+",
    "base64url": "[A-Za-z0-9_=-]+",
    "base64hex": "[A-Za-z0-9+/=]+",
}
HASH = t.word(("sha1", "sha256", "sha512", "md5", "sm3"))
_OFFSET = r"utc|[+-][0-9]{2}:[0-9]{2}"
_TEXTS = t.list_of(t.TEXT)


def compile_at(place: Place, kinds: Mapping[str, Kind]) -> Template:
    """Compile a template. Its names have these kinds."""
    try:
        return compile_template(t.TEXT.read(place), kinds)
    except RecipeError as error:
        raise place.invalid(error.what, error.hint) from None


def slot_name(kind: str) -> t.Plain:
    """Return the type of names of slots of this kind."""

    def read(place: Place) -> str:
        name, document = str(t.TEXT.read(place)), place.scope.document.node
        known = [
            each
            for each in place.scope.slot_names
            if getattr(find(document, ("slots", each, "kind")), "value", "") == kind
        ]
        if name not in known:
            raise place.invalid(f"no slot of kind {kind} is named {name!r}", did_you_mean(name, known))
        return name

    return t.Plain("name of a slot", read, {"type": "string"})


def _read_offset(place: Place) -> int:
    """Return the seconds of `utc`, `+08:00` or `-03:30`."""
    written = t.TEXT.read(place)
    if not re.fullmatch(_OFFSET, written):
        raise place.expected("utc, or an offset such as +08:00")
    if written == "utc":
        return 0
    seconds = int(written[1:3]) * 3600 + int(written[4:6]) * 60
    return seconds if written[0] == "+" else -seconds


def _read_format(place: Place) -> str:
    written, known = str(t.TEXT.read(place)), {*EPOCHS, "http"}
    if written not in known and "%" not in written:
        hint = f"write {', '.join(sorted(known))}, or a strftime pattern such as %Y%m%d"
        raise place.invalid(f"unknown time format {written!r}", hint)
    return written


def _read_nonce(place: Place) -> tuple[int | None, int | None]:
    """Return the bounds of an integer nonce; None for a UUID."""
    written = t.TEXT.read(place)
    bounds = re.fullmatch(r"int:(\d{1,18})\.\.(\d{1,18})", written)
    if bounds and int(bounds[1]) < int(bounds[2]):
        return int(bounds[1]), int(bounds[2])
    if written != "uuid4":
        raise place.invalid(f"unknown kind of nonce {written!r}", "write uuid4, or int:LOW..HIGH")
    return None, None


def _read_reading(place: Place) -> Literal["named"] | int:
    return "named" if place.value == "named" else _read_offset(place)


TEMPLATE = t.Plain("template", lambda place: compile_at(place, place.scope.kinds), {"type": "string"})
OFFSET = t.Plain("`utc`, `+08:00`", _read_offset, {"type": "string", "pattern": f"^(?:{_OFFSET})$"})
READING = t.Plain("`named` or offset", _read_reading, {"type": "string", "pattern": f"^(?:named|{_OFFSET})$"})
FORMAT = t.Plain("time format", _read_format, {"type": "string"})
NONCE = t.Plain("`uuid4`, `int:LOW..HIGH`", _read_nonce, {"type": "string"})
CHARS = t.PATTERN.then(lambda pattern: pattern.pattern)
RULE = t.word(("rule",)).then(bool)
HEADERS = _TEXTS.then(lambda names: tuple(name.lower() for name in names))
ANY = t.list_of(HEADERS, at_least=1)

CHOOSE = Table(
    "choose",
    lambda names, prefix, all, except_, order: HeaderRule(names, prefix, all, except_, order == "as_listed"),
    optional("names", HEADERS, "header names", ()),
    optional("prefix", HEADERS, "prefixes of header names", ()),
    optional("all", t.BOOLEAN, "`true`: all headers", False),
    optional("except", HEADERS, "names to leave out; `*_*`: with an underscore; `x-*`: that begin with `x-`", ()),
    optional("order", t.word(("sorted", "as_listed")), "`sorted`, or `as_listed` in `names`", "sorted"),
)
MUST = Table(
    "must",
    lambda any: tuple(map(frozenset, any)),
    Key("any", ANY, "lists of headers, one of which must be complete"),
)
ALTERNATIVES = t.list_or("list, or must", HEADERS.then(lambda names: (frozenset(names),)), MUST)


def _signature(at: Place, name: str, of: Template, key: Template | None, as_: str, **hashes: Any) -> SignatureSlot:
    stated = [method for method in ("hmac", "hash", "rsa") if hashes[method] is not None]
    if len(stated) != 1:
        raise at.invalid("a signature is made by one of hmac, hash and rsa")
    (method,) = stated
    if (method == "hmac") != (key is not None):
        at.error("`hmac` and `key` belong together")
    elif key is not None and key.source == "":
        at.error("the HMAC key is empty", "", "key")
    algorithm = hashes[method].removeprefix("pkcs1-")
    return SignatureSlot(name, _SIGNATURE_CHARS[as_], of, method, algorithm, key, as_)  # type: ignore[arg-type]


def with_chars(slot: Slot) -> Slot:
    """Return the slot with the default of its kind as `chars`, unless it has its own."""
    default = DEFAULT_CHARS
    if isinstance(slot, TimeSlot | TimePartSlot):
        is_date = slot.format == "http" or (isinstance(slot, TimeSlot) and slot.read)
        default = EPOCHS[slot.format][1] if slot.format in EPOCHS else HTTP_CHARS if is_date else PATTERN_CHARS
    elif isinstance(slot, LifetimeSlot):
        default = "[0-9]{1,6}"
    elif isinstance(slot, NonceSlot) and slot.low is not None:
        default = "[0-9]{1,20}"
    elif isinstance(slot, ChosenSlot):
        default = f"(?:{_CHOSEN_CHARS})?" if slot.empty_is_rule else _CHOSEN_CHARS
    return slot if slot.chars else replace(slot, chars=default)


_CHARS = optional("chars", CHARS, "pattern; the default excludes blank, comma, slash, colon and semicolon", "")
_TIME_ZONE = optional("tz", OFFSET, "the time zone: `utc` (the default) or an offset", 0, to="offset_s")


_EMPTY = "`rule`: an empty list means the headers that `choose` selects"


def _slot(kind: str, build: Callable[..., Slot], *keys: Key) -> Table:
    return Table(f"{kind} slot", build, _CHARS, *keys, kind=kind)


SLOTS = (
    _slot("key", KeySlot),
    _slot("secret", SecretSlot),
    _slot(
        "given",
        GivenSlot,
        optional("default", t.TEXT, "the value if `given` has no value"),
        optional("optional", t.BOOLEAN, "`true`: may be absent", False),
    ),
    _slot(
        "time",
        TimeSlot,
        Key("format", FORMAT, "`epoch`, `epoch_ms`, `http` (RFC 9110), or a strftime pattern, always in English"),
        _TIME_ZONE,
        optional("window_s", t.number(0, at_most=3600), "the greatest distance from now, at most 3600", 300.0),
        optional("read", t.list_of(READING, at_most=4), "how to interpret a time whose zone cannot be trusted", ()),
        optional("zones", t.map_of(OFFSET), "offsets of zone names", {}),
    ),
    _slot(
        "time_part",
        TimePartSlot,
        Key("of", slot_name("time"), "the slot of kind time"),
        Key("format", FORMAT, "as in a slot of kind time"),
        _TIME_ZONE,
    ),
    _slot("lifetime", LifetimeSlot, optional("default", t.COUNT, "seconds", 1800, to="default_s")),
    _slot(
        "nonce",
        lambda name, chars, make: NonceSlot(name, chars, *make),
        optional("make", NONCE, "how it is generated: `uuid4` (the default) or `int:LOW..HIGH`", (None, None)),
    ),
    _slot(
        "chosen",
        ChosenSlot,
        Key("choose", CHOOSE, "the headers to sign", to="rule"),
        Key("must", ALTERNATIVES, "headers that must be signed; `any` gives alternatives"),
        optional("sep", t.TEXT, "the separator of the names", ";"),
        optional("wrap", t.TEXT, "surrounds each name", ""),
        optional("empty", RULE, _EMPTY, False, to="empty_is_rule"),
    ),
    _slot(
        "derived",
        DerivedSlot,
        Key("text", TEMPLATE, "the value", to="of"),
        optional("allow", _TEXTS, "literals that are accepted instead, such as `UNSIGNED-PAYLOAD`", ()),
    ),
    _slot(
        "signature",
        _signature,
        Key("of", TEMPLATE, "what is signed"),
        optional("hmac", HASH, "the hash of an HMAC, with `key`"),
        optional("hash", HASH, "a plain hash"),
        optional("rsa", t.word(("pkcs1-sha256", "pkcs1-sha512")), "an RSA signature; the secret is a key in PEM form"),
        optional("key", TEMPLATE, "the key of the HMAC"),
        Key("as", t.word(_SIGNATURE_CHARS), "the encoding; `base64hex` is base64 of the hex digits"),
    ),
)
