"""What to tell a person whose word is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

_CLOSE = 0.6
_MAX_KNOWN = 12


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return hint text: the known word that `word` is close to in any case, else the first known words."""
    names = sorted(set(known))
    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=_CLOSE)
    if close:
        return f"did you mean '{by_lower[close[0]]}'?"
    if not names:
        return ""
    rest = ", …" if len(names) > _MAX_KNOWN else ""
    return f"known: {', '.join(names[:_MAX_KNOWN])}{rest}"
