"""Runs JMESPath expressions with jmespath.py."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import Options

from gateway.core.expression.functions import FUNCTIONS

Expression = Callable[[Mapping[str, Any]], Any]


class EvaluationError(Exception):
    """An expression failed on its data.

    The message contains the expression and is for the author of the spec. `cause` is for the sender of the data.
    """

    def __init__(self, source: str, cause: str) -> None:
        super().__init__(f"{source}: {cause}")
        self.cause = cause


class _WithOurFunctions(Functions):
    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        function = FUNCTIONS.get(function_name)
        if function is None:
            return super().call_function(function_name, resolved_args)
        first, *others = resolved_args
        if first is None and not function.sees_null:
            return function.of_null
        return function.call(first, *others)


_OPTIONS = Options(custom_functions=_WithOurFunctions())


def interpret(source: str) -> Expression:
    """Compile an expression. Raises `jmespath.exceptions.JMESPathError` for a syntax error."""
    parsed = jmespath.compile(source)

    def run(scope: Mapping[str, Any]) -> Any:
        try:
            return parsed.search(scope, _OPTIONS)
        except (JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise EvaluationError(source, str(error).splitlines()[0]) from error

    return run
