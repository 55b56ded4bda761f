"""From the YAML of a recipe's `slots` to slots."""

import re
from typing import Any, Literal

from gateway.core.recipe.canonical import HeaderRule
from gateway.core.recipe.model import (
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
from gateway.core.recipe.times import EPOCHS, HTTP_CHARS, PATTERN_CHARS
from gateway.core.text import did_you_mean
from gateway.specs.schema.recipe_models import (
    ChooseSpec,
    ChosenSlotSpec,
    DerivedSlotSpec,
    GivenSlotSpec,
    KeySlotSpec,
    LifetimeSlotSpec,
    NonceSlotSpec,
    SecretSlotSpec,
    SignatureSlotSpec,
    SlotSpec,
    TimePartSlotSpec,
    TimeSlotSpec,
)
from gateway.specs.schema.recipe_parts import RecipeParts
from gateway.specs.yaml.nodes import Path

DEFAULT_CHARS = r"[^\s,/:;]+"
_SIGNATURE_CHARS = {
    "hex": "[0-9a-f]+",
    "HEX": "[0-9A-F]+",
    "base64": "[A-Za-z0-9+/=]+",
    "base64url": "[A-Za-z0-9_=-]+",
    "base64hex": "[A-Za-z0-9+/=]+",
}
_CHOSEN_CHARS = "[A-Za-z0-9!#$%&'*+.^_`|~@();-]+"


def build_slot(parts: RecipeParts, name: str, spec: SlotSpec) -> Slot:
    path = ["slots", name]
    chars = parts.pattern(_chars(spec), [*path, "chars"])
    match spec:
        case KeySlotSpec():
            return KeySlot(name, chars)
        case SecretSlotSpec():
            return SecretSlot(name, chars)
        case GivenSlotSpec():
            return GivenSlot(name, chars, spec.default, spec.optional)
        case TimeSlotSpec():
            _check_format(parts, spec.format, [*path, "format"])
            readings = tuple(_reading(each) for each in spec.read)
            zones = {zone: offset_s(text) for zone, text in spec.zones.items()}
            return TimeSlot(name, chars, spec.format, offset_s(spec.tz), spec.window_s, readings, zones)
        case TimePartSlotSpec():
            _check_format(parts, spec.format, [*path, "format"])
            _check_of(parts, spec.of, [*path, "of"])
            return TimePartSlot(name, chars, spec.of, spec.format, offset_s(spec.tz))
        case LifetimeSlotSpec():
            return LifetimeSlot(name, chars, spec.default)
        case NonceSlotSpec():
            return NonceSlot(name, chars, *_range(parts, spec.make, [*path, "make"]))
        case ChosenSlotSpec():
            return _chosen(name, chars, spec)
        case DerivedSlotSpec():
            return DerivedSlot(name, chars, parts.template(spec.text, [*path, "text"]), tuple(spec.allow))
        case SignatureSlotSpec():
            return _signature(parts, name, chars, spec)


def chosen_rule(spec: ChooseSpec) -> HeaderRule:
    return HeaderRule(
        names=tuple(name.lower() for name in spec.names),
        prefixes=tuple(prefix.lower() for prefix in spec.prefix),
        every=spec.all,
        except_names=tuple(name.lower() for name in spec.except_),
        as_listed=spec.order == "as_listed",
    )


def offset_s(text: str) -> int:
    """Return the seconds of `utc`, `+08:00` or `-03:30`."""
    if text == "utc":
        return 0
    seconds = int(text[1:3]) * 3600 + int(text[4:6]) * 60
    return seconds if text[0] == "+" else -seconds


def _reading(text: str) -> Any:
    return "named" if text == "named" else offset_s(text)


def _chars(spec: SlotSpec) -> str:
    if isinstance(spec, SignatureSlotSpec):
        return _SIGNATURE_CHARS[spec.as_]
    if spec.chars is not None:
        return spec.chars
    if isinstance(spec, TimeSlotSpec | TimePartSlotSpec):
        if spec.format in EPOCHS:
            return EPOCHS[spec.format][1]
        is_date = spec.format == "http" or (isinstance(spec, TimeSlotSpec) and bool(spec.read))
        return HTTP_CHARS if is_date else PATTERN_CHARS
    if isinstance(spec, ChosenSlotSpec):
        return _CHOSEN_CHARS if spec.empty is None else f"(?:{_CHOSEN_CHARS})?"
    if isinstance(spec, LifetimeSlotSpec):
        return "[0-9]{1,6}"
    is_number = isinstance(spec, NonceSlotSpec) and spec.make.startswith("int:")
    return "[0-9]{1,20}" if is_number else DEFAULT_CHARS


def _check_format(parts: RecipeParts, time_format: str, path: Path) -> None:
    known = {*EPOCHS, "http"}
    if time_format not in known and "%" not in time_format:
        hint = f"write {', '.join(sorted(known))}, or a strftime pattern such as %Y%m%d"
        parts.document.error(path, f"no time is written {time_format!r}", hint)


def _check_of(parts: RecipeParts, of: str, path: Path) -> None:
    times = [name for name, slot in parts.spec.slots.items() if isinstance(slot, TimeSlotSpec)]
    if of not in times:
        parts.document.error(path, f"no slot of kind time is named {of!r}", did_you_mean(of, times))


def _range(parts: RecipeParts, make: str, path: Path) -> tuple[int | None, int | None]:
    bounds = re.fullmatch(r"int:(\d{1,18})\.\.(\d{1,18})", make)
    if bounds and int(bounds[1]) < int(bounds[2]):
        return int(bounds[1]), int(bounds[2])
    if make != "uuid4":
        parts.document.error(path, f"{make!r} makes no nonce", "write uuid4, or int:LOW..HIGH")
    return None, None


def _chosen(name: str, chars: str, spec: ChosenSlotSpec) -> ChosenSlot:
    alternatives = [spec.must] if isinstance(spec.must, list) else spec.must.any
    must = tuple(frozenset(header.lower() for header in headers) for headers in alternatives)
    return ChosenSlot(name, chars, chosen_rule(spec.choose), spec.sep, spec.wrap, must, spec.empty == "rule")


def _signature(parts: RecipeParts, name: str, chars: str, spec: SignatureSlotSpec) -> SignatureSlot:
    path = ["slots", name]
    methods: list[tuple[Literal["hmac", "hash", "rsa"], str | None]] = [
        ("hmac", spec.hmac),
        ("hash", spec.hash),
        ("rsa", spec.rsa and spec.rsa.removeprefix("pkcs1-")),
    ]
    present = [(method, value) for method, value in methods if value is not None]
    if len(present) != 1:
        parts.document.error(path, "a signature is made by one of hmac, hash and rsa")
    method, hash_name = present[0] if present else ("hmac", "sha256")
    if (method == "hmac") != (spec.key is not None):
        parts.document.error(path, "`hmac` and `key` belong together")
    elif spec.key == "":
        parts.document.error([*path, "key"], "the HMAC key is empty")
    of = parts.template(spec.of, [*path, "of"])
    key = None if spec.key is None else parts.template(spec.key, [*path, "key"])
    return SignatureSlot(name, chars, of, method, hash_name or "sha256", key, spec.as_)
