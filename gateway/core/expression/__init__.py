"""Expressions: JMESPath, trees of it, and text with {names}, compiled to callables.

`Compiler` (`compiler`) is the only entry point. It reads the text (`parser`), finds mistakes before an expression runs
(`lint`) and hands sound expressions to `closures`. `functions` has the functions beyond JMESPath's own, `reshape` those
that change the shape of data, `arithmetic` those that calculate, `arguments` the checks of their arguments.
"""

from gateway.core.expression.closures import EvaluationError, Expression
from gateway.core.expression.compiler import Compiler, Problem

__all__ = ["Compiler", "EvaluationError", "Expression", "Problem"]
