"""Values of YAML scalars by the YAML 1.2 core schema: YAML 1.1 reads `no`, `0777` and `12:30` differently."""

import math
import re

from gateway.specs.yaml.nodes import Value

TAG = "tag:yaml.org,2002:"
KINDS: dict[str, tuple[str, type]] = {
    TAG + "str": ("text", str),
    TAG + "int": ("an integer", int),
    TAG + "float": ("a number", float),
    TAG + "bool": ("true or false", bool),
    TAG + "null": ("null", type(None)),
}

_MAX_NUMBER_CHARS = 100  # far below the 4,300 digits at which Python's int() fails
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def resolve(text: str) -> Value:
    """Return the value of an unquoted, untagged text; raise ValueError for a number out of bounds."""
    if text in _WORDS:
        return _WORDS[text]
    is_int = _INT.fullmatch(text) is not None
    if not is_int and not _FLOAT.fullmatch(text):
        return text
    if len(text) > _MAX_NUMBER_CHARS:
        raise ValueError(f"a number of {len(text):,} characters is too long")
    if is_int:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if text[-1] in "fFnN":
        return float(text.replace(".", "", 1))
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"'{text}' is larger than any number here")
    return value


def resolve_tagged(text: str, tag: str) -> Value:
    """Return the value of a text with a tag of `KINDS`. Raises ValueError if it has another type."""
    name, kind = KINDS[tag]
    if kind is str:
        return text
    value = resolve(text)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"'{text}' is not {name}, as its tag says")
    return value
