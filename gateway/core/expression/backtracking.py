"""Finds patterns that take `re` exponential time on some texts: they repeat a group that holds a repeat, as `(a+)+`."""

import re

_TOKEN = re.compile(
    r"\\(?:\d+|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P=\w+\)|\(\?[a-zA-Z]+\)|\(\?#[^)]*\)"
    r"|(?P<group>\((?:\?(?:P<\w+>|<?[=!]|[:>]|[a-zA-Z-]+:))?)"
    r"|(?P<repeat>[*+?]|\{\d*,?\d*\})(?P<possessive>\+?)\??|.",
    re.DOTALL,
)


def nested_repeat(pattern: str) -> str | None:
    """Return the first group that is repeated without bound and contains such a repeat, or None.

    Repeats that do not backtrack are left out: possessive ones, those in atomic groups, and groups such as
    `(,[a-z]+)*`, whose first character shows where each repetition begins. Overlapping alternatives, such as
    `(a|a)*`, are not found.
    """
    groups: list[tuple[re.Match[str] | None, bool]] = []  # those that are open; whether a repeat was in each
    opening, holds_repeat = None, False
    for token in _TOKEN.finditer(pattern):
        if token["group"]:
            groups.append((opening, holds_repeat))
            opening, holds_repeat = token, False
        elif token[0] == ")" and opening is not None:
            repeat = _TOKEN.match(pattern, token.end())
            body = pattern[opening.end() : token.start()]
            holds_repeat = holds_repeat and opening[0] != "(?>"
            if holds_repeat and repeat is not None and _is_unbounded(repeat) and not _is_separated(body):
                return pattern[opening.start() : repeat.end()]
            opening, was_repeat = groups.pop()
            holds_repeat = holds_repeat or was_repeat
        elif _is_unbounded(token):
            holds_repeat = True
    return None


def _is_unbounded(token: re.Match[str]) -> bool:
    return (token["repeat"] or "").endswith(("*", "+", ",}")) and not token["possessive"]


def _is_separated(body: str) -> bool:
    """Whether a body begins with a character that nothing else in it matches, and has only one repeat."""
    first, *others = _TOKEN.finditer(body)
    literal = re.fullmatch(r"\\?([^\w\\])|(\w)", first[0])
    repeats = [token for token in others if token["repeat"]]
    atoms = [token[0] for token in others if not token["repeat"] and not token["group"] and token[0] != ")"]
    if literal is None or first[0] in ".^$|(" or len(repeats) != 1 or others[0] in repeats or "|" in atoms:
        return False
    try:
        return not any(re.fullmatch(atom, literal[1] or literal[2], re.DOTALL | re.IGNORECASE) for atom in atoms)
    except re.error:  # an atom that means nothing without the rest, such as a back reference
        return False
