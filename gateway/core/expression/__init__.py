"""JMESPath and what surrounds it: text or tree in, callable out.

`Compiler` is the one door. Everything that evaluates an expression holds a callable from it, so that another
implementation can take the interpreter's place without a change elsewhere.
"""

from gateway.core.expression.compiler import Compiler, Problem
from gateway.core.expression.interpreter import EvaluationError, Expression

__all__ = ["Compiler", "EvaluationError", "Expression", "Problem"]
