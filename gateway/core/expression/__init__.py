"""Expressions: JMESPath, trees of it, and text with {names}, compiled to callables.

`Compiler` (`compiler`) is the only entry point. It finds mistakes before an expression runs (`lint`) and hands sound
expressions to the `interpreter`. `functions` has the functions beyond JMESPath's own, `reshape` those that change the
shape of data, `arguments` the checks of their arguments.
"""

from gateway.core.expression.compiler import Compiler, Problem
from gateway.core.expression.interpreter import EvaluationError, Expression

__all__ = ["Compiler", "EvaluationError", "Expression", "Problem"]
