"""Compiles the syntax tree of an expression to Python closures, one per node of the tree.

Results and errors are those of jmespath.py's interpreter, which the tests use as the oracle. JMESPath's own functions
are those of jmespath.py.
"""

import operator
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from jmespath.exceptions import JMESPathError
from jmespath.functions import REVERSE_TYPES_MAP, Functions

from gateway.core.expression.arguments import is_false, is_number
from gateway.core.expression.functions import FUNCTIONS

Node = Mapping[str, Any]
Closure = Callable[[Any], Any]
Expression = Callable[[Mapping[str, Any]], Any]

_BUILTIN = Functions()
_VARIADIC = {name for name, entry in _BUILTIN.FUNCTION_TABLE.items() if entry["signature"][-1].get("variadic")}
_ORDERINGS = {"lt": operator.lt, "gt": operator.gt, "lte": operator.le, "gte": operator.ge}
# The variables of the `let` expressions that are being evaluated, in each thread. Each `let` restores them.
_VARIABLES: ContextVar[Mapping[str, Any]] = ContextVar("variables")


class EvaluationError(Exception):
    """An expression failed on its data.

    The message contains the expression and is for the author of the spec. `cause` is for the sender of the data.
    """

    def __init__(self, source: str, cause: str) -> None:
        super().__init__(f"{source}: {cause}")
        self.cause = cause


class _Expression:
    """An argument `&expression`. jmespath.py's functions require this class name and these members."""

    def __init__(self, expression: Closure) -> None:
        self.expression = expression

    def __repr__(self) -> str:
        return "&expression"

    def visit(self, expression: Closure, value: Any) -> Any:
        return expression(value)


def compile_tree(source: str, tree: Node) -> Expression:
    """Compile the syntax tree of an expression. The result raises EvaluationError if it fails on its data."""
    run = _compile(tree)
    if not _can_fail(tree):
        return run

    def expression(scope: Mapping[str, Any]) -> Any:
        try:
            return run(scope)
        except (JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise EvaluationError(source, str(error).splitlines()[0]) from error

    return expression


def _can_fail(node: Node) -> bool:
    if node["type"] == "comparator" and node["value"] in _ORDERINGS:
        return True
    return node["type"] in ("function_expression", "slice", "variable") or any(map(_can_fail, node["children"]))


def _compile(node: Node) -> Closure:
    """Compile a node. If it has `observe`, a function, each of its results passes through that."""
    run, observe = _COMPILERS[node["type"]](node), node.get("observe")
    return run if observe is None else lambda value: observe(run(value))


def path(first: str, *names: str) -> Closure:
    """Return a function that reads a member of a member of a value. It returns None for anything that is not a map."""

    def member(value: Any) -> Any:
        try:
            return value.get(first)
        except AttributeError:
            return None

    def member_of_member(value: Any) -> Any:
        try:
            inner = value.get(first)
            return None if inner is None else inner.get(second)
        except AttributeError:
            return None

    def deep_member(value: Any) -> Any:
        try:
            for name in chain:
                if value is None:
                    return None
                value = value.get(name)
            return value
        except AttributeError:
            return None

    chain = (first, *names)
    if not names:
        return member
    second, *others = names
    if not others:
        return member_of_member
    return deep_member


def _chain(node: Node) -> Closure:
    """Compile a.b, a[0] and a | b: each child reads the result of the one before it."""
    children = node["children"]
    if all(child["type"] == "field" for child in children):
        return path(*[child["value"] for child in children])
    steps = [_compile(child) for child in children]

    def chain(value: Any) -> Any:
        for step in steps:
            value = step(value)
        return value

    return chain


def _current(node: Node) -> Closure:
    return lambda value: value


def _literal(node: Node) -> Closure:
    constant = node["value"]
    return lambda value: constant


def _index(node: Node) -> Closure:
    at = node["value"]
    return lambda value: value[at] if isinstance(value, list) and -len(value) <= at < len(value) else None


def _slice(node: Node) -> Closure:
    part = slice(*node["children"])
    return lambda value: value[part] if isinstance(value, list) else None


def _or(node: Node) -> Closure:
    first, second = map(_compile, node["children"])
    return lambda value: second(value) if is_false(found := first(value)) else found


def _and(node: Node) -> Closure:
    first, second = map(_compile, node["children"])
    return lambda value: found if is_false(found := first(value)) else second(value)


def _not(node: Node) -> Closure:
    (operand,) = map(_compile, node["children"])
    return lambda value: is_false(operand(value))


def _comparator(node: Node) -> Closure:
    left, right = map(_compile, node["children"])
    constants = [child["value"] for child in node["children"] if child["type"] == "literal"]
    if node["value"] in ("eq", "ne") and any(constant is None or isinstance(constant, str) for constant in constants):
        # Python compares texts and null with any value as JMESPath does.
        compare = operator.eq if node["value"] == "eq" else operator.ne
        return lambda value: compare(left(value), right(value))
    if node["value"] == "eq":
        return lambda value: _equal(left(value), right(value))
    if node["value"] == "ne":
        return lambda value: not _equal(left(value), right(value))
    order = _ORDERINGS[node["value"]]

    def ordering(value: Any) -> Any:
        one, other = left(value), right(value)
        # Numbers and texts can be compared; anything else gives null.
        comparable = (is_number(one) or isinstance(one, str)) and (is_number(other) or isinstance(other, str))
        return order(one, other) if comparable else None

    return ordering


def _equal(one: Any, other: Any) -> bool:
    """Compare two values. Unlike in Python, a boolean does not equal a number."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _map(node: Node) -> Closure:
    members = [(child["value"], _compile(child["children"][0])) for child in node["children"]]
    return lambda value: None if value is None else {name: member(value) for name, member in members}


def _list(node: Node) -> Closure:
    elements = [_compile(child) for child in node["children"]]
    return lambda value: None if value is None else [element(value) for element in elements]


def _flatten(node: Node) -> Closure:
    (base,) = map(_compile, node["children"])

    def flatten(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        return [inner for element in found for inner in (element if isinstance(element, list) else (element,))]

    return flatten


def _projection(node: Node) -> Closure:
    """Compile a[*].b, a.*.b and a[?c].b, which has a third child."""
    base, then, *conditions = map(_compile, node["children"])
    condition, is_of_map = conditions[0] if conditions else None, node["type"] == "value_projection"

    def project(value: Any) -> Any:
        found = base(value)
        if is_of_map and isinstance(found, dict):
            found = list(found.values())
        elif is_of_map or not isinstance(found, list):
            return None
        if condition is None:
            return [result for element in found if (result := then(element)) is not None]
        return [
            result for element in found if not is_false(condition(element)) and (result := then(element)) is not None
        ]

    return project


def _let(node: Node) -> Closure:
    *bindings, last = node["children"]
    bound, body = [(each["value"], _compile(each["children"][0])) for each in bindings], _compile(last)

    def let(value: Any) -> Any:
        before = _VARIABLES.set({**_VARIABLES.get({}), **{name: read(value) for name, read in bound}})
        try:
            return body(value)
        finally:
            _VARIABLES.reset(before)

    return let


def _variable(node: Node) -> Closure:
    name = node["value"]

    def variable(value: Any) -> Any:
        try:
            return _VARIABLES.get()[name]
        except LookupError:  # an `&expression` that a `let` returned
            raise ValueError(f"{name} is read outside its `let`") from None

    return variable


def _reference(node: Node) -> Closure:
    (inner,) = map(_compile, node["children"])
    reference = _Expression(inner)
    return lambda value: reference


def _function(node: Node) -> Closure:
    name, arguments = node["value"], [_compile(child) for child in node["children"]]
    function = FUNCTIONS.get(name)
    if function is None:
        return _builtin(name, arguments)
    call, of_null = function.call, function.of_null
    if function.lazy:
        return lambda value: call(value, *arguments)
    if len(arguments) == 1:
        (argument,) = arguments
        return lambda value: of_null if (only := argument(value)) is None else call(only)

    def call_own(value: Any) -> Any:
        first, *others = [argument(value) for argument in arguments]
        return of_null if first is None else call(first, *others)

    return call_own


def _builtin(name: str, arguments: list[Closure]) -> Closure:
    """Return a call of one of JMESPath's own functions, after a check of the types of its arguments."""

    def call_checked(value: Any) -> Any:
        return _BUILTIN.call_function(name, [argument(value) for argument in arguments])

    entry = _BUILTIN.FUNCTION_TABLE.get(name)
    kinds = [parameter["types"] for parameter in entry["signature"]] if entry is not None else []
    is_complete = len(arguments) >= len(kinds) if name in _VARIADIC else len(arguments) == len(kinds)
    if entry is None or not is_complete or any(kind not in REVERSE_TYPES_MAP for each in kinds for kind in each):
        return call_checked
    call = entry["function"]
    typed = [(at, {name for kind in each for name in REVERSE_TYPES_MAP[kind]}) for at, each in enumerate(kinds) if each]

    def call_builtin(value: Any) -> Any:
        given = [argument(value) for argument in arguments]
        for position, types in typed:
            if type(given[position]).__name__ not in types:
                return _BUILTIN.call_function(name, given)  # which raises the error
        return call(_BUILTIN, *given)

    return call_builtin


_COMPILERS: dict[str, Callable[[Node], Closure]] = {
    "and_expression": _and,
    "comparator": _comparator,
    "current": _current,
    "expref": _reference,
    "field": lambda node: path(node["value"]),
    "filter_projection": _projection,
    "flatten": _flatten,
    "function_expression": _function,
    "identity": _current,
    "index": _index,
    "index_expression": _chain,
    "let": _let,
    "literal": _literal,
    "multi_select_dict": _map,
    "multi_select_list": _list,
    "not_expression": _not,
    "or_expression": _or,
    "pipe": _chain,
    "projection": _projection,
    "slice": _slice,
    "subexpression": _chain,
    "value_projection": _projection,
    "variable": _variable,
}
