"""The keys of a recipe's `slots`, by kind."""

import re
from collections.abc import Callable, Mapping, Sequence
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
HASH = t.word(("sha1", "sha256", "sha512", "md5", "sm3"))
_OFFSET = r"utc|[+-][0-9]{2}:[0-9]{2}"
_TEXTS = t.list_of(t.TEXT)


def compile_at(place: Place, kinds: Mapping[str, Kind]) -> Template:
    """Compile a template. Its names have these kinds."""
    try:
        return compile_template(t.TEXT.read(place), kinds)
    except RecipeError as error:
        raise place.invalid(error.what, error.hint) from None


def _read_offset(place: Place) -> int:
    """Return the seconds of `utc`, `+08:00` or `-03:30`."""
    written = t.TEXT.read(place)
    if not re.fullmatch(_OFFSET, written):
        raise place.expected("utc, or an offset such as +08:00")
    if written == "utc":
        return 0
    seconds = int(written[1:3]) * 3600 + int(written[4:6]) * 60
    return seconds if written[0] == "+" else -seconds


def _read_reading(place: Place) -> Literal["named"] | int:
    return "named" if place.value == "named" else _read_offset(place)


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
    name, times = str(t.TEXT.read(place)), slots_of_kind(place, "time")
    if name not in times:
        raise place.invalid(f"no slot of kind time is named {name!r}", did_you_mean(name, times))
    return name


TEMPLATE = t.Plain("template", lambda place: compile_at(place, place.scope.kinds), {"type": "string"})
OFFSET = t.Plain("`utc`, `+08:00`", _read_offset, {"type": "string", "pattern": f"^(?:{_OFFSET})$"})
READING = t.Plain("`named` or offset", _read_reading, {"type": "string", "pattern": f"^(?:named|{_OFFSET})$"})
FORMAT = t.Plain("time format", _read_format, {"type": "string"})
TIME_NAME = t.Plain("name of a slot", _read_time_name, {"type": "string"})
NONCE = t.Plain("`uuid4`, `int:LOW..HIGH`", _read_nonce, {"type": "string"})
CHARS = t.Plain("pattern", lambda place: t.PATTERN.read(place).pattern, {"type": "string"})


def _choose(order: Literal["sorted", "as_listed"], all: bool, **names: Sequence[str]) -> HeaderRule:
    chosen, prefixes, excepted = (_lower(names[key]) for key in ("names", "prefix", "except_"))
    return HeaderRule(chosen, prefixes, all, excepted, order == "as_listed")


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


CHOOSE = Table(
    "choose",
    _choose,
    optional("names", _TEXTS, "header names", ()),
    optional("prefix", _TEXTS, "prefixes of header names", ()),
    optional("all", t.BOOLEAN, "`true`: all headers", False),
    optional("except", _TEXTS, "names to leave out; `*_*`: with an underscore; `x-*`: that begin with `x-`", ()),
    optional("order", t.word(("sorted", "as_listed")), "`sorted`, or `as_listed` in `names`", "sorted"),
)
_ANY = Key("any", t.list_of(_TEXTS, at_least=1), "lists of headers, one of which must be complete")
MUST = Table("must", lambda any: any, _ANY)


def _time(name: str, chars: str, format: str, read: Sequence[Literal["named"] | int], **keys: Any) -> TimeSlot:
    return TimeSlot(name=name, chars=chars or _time_chars(format, bool(read)), format=format, read=tuple(read), **keys)


def _time_part(name: str, chars: str, format: str, **keys: Any) -> TimePartSlot:
    return TimePartSlot(name=name, chars=chars or _time_chars(format, False), format=format, **keys)


def _time_chars(format: str, is_date: bool) -> str:
    if format in EPOCHS:
        return EPOCHS[format][1]
    return HTTP_CHARS if format == "http" or is_date else PATTERN_CHARS


def _nonce(name: str, chars: str, make: tuple[int | None, int | None]) -> NonceSlot:
    return NonceSlot(name, chars or (DEFAULT_CHARS if make[0] is None else "[0-9]{1,20}"), *make)


def _chosen(name: str, chars: str, must: Sequence[Any], empty: Literal["rule"] | None, **keys: Any) -> ChosenSlot:
    alternatives = [must] if not must or isinstance(must[0], str) else must
    needed = tuple(frozenset(_lower(each)) for each in alternatives)
    chars = chars or (_CHOSEN_CHARS if empty is None else f"(?:{_CHOSEN_CHARS})?")
    return ChosenSlot(name=name, chars=chars, must=needed, empty_is_rule=empty == "rule", **keys)


def _signature(at: Place, name: str, chars: str, of: Template, key: Template | None, **keys: Any) -> SignatureSlot:
    stated = [method for method in ("hmac", "hash", "rsa") if keys[method] is not None]
    if len(stated) != 1:
        raise at.invalid("a signature is made by one of hmac, hash and rsa")
    (method,) = stated
    if (method == "hmac") != (key is not None):
        at.error("`hmac` and `key` belong together")
    elif key is not None and key.source == "":
        at.error("the HMAC key is empty", "", "key")
    encoding: Encoding = keys["as_"]
    algorithm = keys[method].removeprefix("pkcs1-")
    return SignatureSlot(name, _SIGNATURE_CHARS[encoding], of, method, algorithm, key, encoding)  # type: ignore[arg-type]


def _slot(build: Callable[..., Slot], default: str) -> Callable[..., Slot]:
    def make(name: str, chars: str, **keys: Any) -> Slot:
        return build(name=name, chars=chars or default, **keys)

    return make


_CHARS = optional("chars", CHARS, "pattern; the default excludes blank, comma, slash, colon and semicolon", "")
_TIME_ZONE = optional("tz", OFFSET, "the time zone: `utc` (the default) or an offset", 0, to="offset_s")
SLOTS = (
    Table("key slot", _slot(KeySlot, DEFAULT_CHARS), _CHARS, kind="key"),
    Table("secret slot", _slot(SecretSlot, DEFAULT_CHARS), _CHARS, kind="secret"),
    Table(
        "given slot",
        _slot(GivenSlot, DEFAULT_CHARS),
        _CHARS,
        optional("default", t.TEXT, "the value if `given` has no value"),
        optional("optional", t.BOOLEAN, "`true`: may be absent", False),
        kind="given",
    ),
    Table(
        "time slot",
        _time,
        _CHARS,
        Key("format", FORMAT, "`epoch`, `epoch_ms`, `http` (RFC 9110), or a strftime pattern, always in English"),
        _TIME_ZONE,
        optional("window_s", t.number(0, at_most=3600), "the greatest distance from now, at most 3600", 300.0),
        optional("read", t.list_of(READING, at_most=4), "how to interpret a time whose zone cannot be trusted", ()),
        optional("zones", t.map_of(OFFSET), "offsets of zone names", {}),
        kind="time",
    ),
    Table(
        "time_part slot",
        _time_part,
        _CHARS,
        Key("of", TIME_NAME, "the slot of kind time"),
        Key("format", FORMAT, "as in a slot of kind time"),
        _TIME_ZONE,
        kind="time_part",
    ),
    Table(
        "lifetime slot",
        _slot(LifetimeSlot, "[0-9]{1,6}"),
        _CHARS,
        optional("default", t.COUNT, "seconds", 1800, to="default_s"),
        kind="lifetime",
    ),
    Table(
        "nonce slot",
        _nonce,
        _CHARS,
        optional("make", NONCE, "how it is generated: `uuid4` (the default) or `int:LOW..HIGH`", (None, None)),
        kind="nonce",
    ),
    Table(
        "chosen slot",
        _chosen,
        _CHARS,
        Key("choose", CHOOSE, "the headers to sign", to="rule"),
        Key("must", t.list_or("list, or must", _TEXTS, MUST), "headers that must be signed; `any` gives alternatives"),
        optional("sep", t.TEXT, "the separator of the names", ";"),
        optional("wrap", t.TEXT, "surrounds each name", ""),
        optional("empty", t.word(("rule",)), "`rule`: an empty list means the headers that `choose` selects"),
        kind="chosen",
    ),
    Table(
        "derived slot",
        _slot(DerivedSlot, DEFAULT_CHARS),
        _CHARS,
        Key("text", TEMPLATE, "the value", to="of"),
        optional("allow", _TEXTS, "literals that are accepted instead, such as `UNSIGNED-PAYLOAD`", ()),
        kind="derived",
    ),
    Table(
        "signature slot",
        _signature,
        _CHARS,
        Key("of", TEMPLATE, "what is signed"),
        optional("hmac", HASH, "the hash of an HMAC, with `key`"),
        optional("hash", HASH, "a plain hash"),
        optional("rsa", t.word(("pkcs1-sha256", "pkcs1-sha512")), "an RSA signature; the secret is a key in PEM form"),
        optional("key", TEMPLATE, "the key of the HMAC"),
        Key("as", t.word(_SIGNATURE_CHARS), "the encoding; `base64hex` is base64 of the hex digits"),
        kind="signature",
    ),
)
