"""Text in messages: hints for unknown words, and values in quotes."""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

_CLOSE = 0.6
_MAX_KNOWN = 12


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint: the known word that resembles `word`, else the first known words."""
    names = sorted(set(known))
    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=_CLOSE)
    if close:
        return f"did you mean '{by_lower[close[0]]}'?"
    if not names:
        return ""
    rest = ", …" if len(names) > _MAX_KNOWN else ""
    return f"known: {', '.join(names[:_MAX_KNOWN])}{rest}"


def shown(value: Any, max_chars: int = 40) -> str:
    """Return a JSON value for a message: text in quotes, long text truncated, no members."""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a map"
    if isinstance(value, str):
        return repr(value if len(value) <= max_chars else value[:max_chars] + "…")
    text = json.dumps(value)
    return text if len(text) <= max_chars else text[:max_chars] + "…"
