"""How a value that a function cannot take is called in its complaint."""

from typing import Any

SHOWN_CHARS = 40


def in_words(value: Any) -> str:
    """Return the start of a text, a number as it is, and of anything larger only what it is."""
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    return "null" if value is None else repr(value[:SHOWN_CHARS] if isinstance(value, str) else value)
