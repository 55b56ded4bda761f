"""Static checks of an expression: the names and functions it uses, and mistakes in its syntax tree."""

from collections.abc import Collection, Iterator
from typing import Any

from jmespath.functions import Functions

from gateway.core.expression.functions import FUNCTIONS, replace
from gateway.core.expression.parser import BadExpression, parse
from gateway.core.text import did_you_mean

_BUILTIN = {name: entry["signature"] for name, entry in Functions().FUNCTION_TABLE.items()}
# Nodes whose children all start at the root of the scope.
_ALL_INHERIT = {
    "and_expression",
    "binding",
    "comparator",
    "function_expression",
    "key_val_pair",
    "let",
    "multi_select_dict",
    "multi_select_list",
    "not_expression",
    "or_expression",
}

KNOWN_FUNCTIONS = frozenset(_BUILTIN) | frozenset(FUNCTIONS)
# Functions of earlier versions and their replacements, for the error message that an old one gets.
RENAMED = {"substitute": "replace(text, pattern, template)"}


def root_names(node: Any, at_root: bool = True) -> Iterator[tuple[str, ...]]:
    """Yield each name that an expression reads from its scope, as a chain of members: `given`, `region`.

    The chain of an expression that reads the whole scope is empty.
    """
    kind, children = node["type"], _below(node)
    chain = _chain(node) if at_root else ()
    if chain:
        yield chain
    elif kind == "subexpression" and children[0]["type"] == "current":
        yield from root_names({**node, "children": children[1:]}, at_root)
    elif kind in ("current", "identity"):
        if at_root:
            yield ()
    elif kind in _ALL_INHERIT:
        for child in children:
            yield from root_names(child, at_root)
    else:
        # In paths, projections and pipes only the leftmost part starts at the root; the rest reads its result.
        for position, child in enumerate(children):
            yield from root_names(child, at_root and position == 0 and kind != "expref")


def reads_only(source: Any, names: Collection[str]) -> bool:
    """Whether an expression, or a tree of them, reads nothing but these names. False for invalid ones."""
    if isinstance(source, dict | list):
        return all(reads_only(member, names) for member in (source.values() if isinstance(source, dict) else source))
    try:
        return not isinstance(source, str) or all(chain and chain[0] in names for chain in root_names(parse(source)))
    except BadExpression:
        return False


def mistakes(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield (what is wrong, what to do) for each mistake that is valid syntax."""
    for node in _walk(tree):
        if node["type"] == "function_expression":
            name, given = node["value"], len(node["children"])
            yield from _pattern_mistakes(node)
            least, most = _arity(name)
            if most and not least <= given <= most:
                wanted = str(least) if least == most else f"{least} or more" if most > 99 else f"{least} to {most}"
                yield f"{name}() takes {wanted} argument{'' if wanted == '1' else 's'}, not {given}", ""
        if node["type"] == "subexpression" and node["children"][0]["type"] in ("not_expression", "comparator"):
            yield "a member of a boolean is always null", "write !(a.b): `!a.b` reads as (!a).b"


def hint_for(function: str) -> str:
    """Return what to write in place of an unknown function."""
    new = RENAMED.get(function)
    return f"this was renamed: write `{new}`" if new else did_you_mean(function, KNOWN_FUNCTIONS)


def functions_used(tree: Any) -> Iterator[str]:
    """Yield the name of each function that an expression calls."""
    return (node["value"] for node in _walk(tree) if node["type"] == "function_expression")


def _pattern_mistakes(call: Any) -> Iterator[tuple[str, str]]:
    """Check a literal pattern, and the literal template of `replace`."""
    literals = [child["value"] if child["type"] == "literal" else None for child in call["children"][1:3]]
    if call["value"] in ("matches", "replace") and literals and isinstance(literals[0], str):
        try:
            replace("", literals[0], literals[1] if literals[1:] and isinstance(literals[1], str) else "")
        except ValueError as error:
            yield str(error), ""


def patterns_used(tree: Any) -> Iterator[str]:
    """Yield each pattern that is a literal in an expression."""
    for node in _walk(tree):
        if node["type"] == "function_expression" and node["value"] in ("matches", "replace"):
            literals = (child["value"] for child in node["children"][1:2] if child["type"] == "literal")
            yield from (text for text in literals if isinstance(text, str))


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for child in _below(node):
        yield from _walk(child)


def _below(node: Any) -> list[Any]:
    """Return the child nodes. The children of a slice are its bounds, not nodes."""
    return [] if node["type"] == "slice" else node["children"]


def _chain(node: Any) -> tuple[str, ...]:
    """Return the names of a path up to the first part that is not a field; empty if it does not start with one."""
    if node["type"] == "field":
        return (node["value"],)
    names: tuple[str, ...] = ()
    if node["type"] == "subexpression":
        for position, child in enumerate(node["children"]):
            if child["type"] != "field":
                return _chain(child) if position == 0 and child["type"] == "subexpression" else names
            names += (child["value"],)
    return names


def _arity(name: str) -> tuple[int, int]:
    """Return how many arguments a function takes at least and at most; 0, 0 for an unknown function."""
    if name in FUNCTIONS:
        return FUNCTIONS[name].least, FUNCTIONS[name].most
    signature = _BUILTIN.get(name, ())
    variadic = any(argument.get("variadic") for argument in signature)
    return len(signature), 1000 if variadic else len(signature)
