"""Reads the text of an expression as a syntax tree: JMESPath, and `let $name = expression, … in expression` of JEP-18.

jmespath.py has no `let`. Its parser looks up a method for each kind of token, so a subclass adds the two kinds that are
new, and JMESPath's own grammar stays that of the library. The compliance suite of JMESPath tests both.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from jmespath.exceptions import EmptyExpressionError, IncompleteExpressionError, JMESPathError, LexerError
from jmespath.lexer import Lexer
from jmespath.parser import Parser

from gateway.core.text import did_you_mean

Node = dict[str, Any]
Token = Mapping[str, Any]
_Library: Any = Parser  # its methods begin with an underscore and have no types

_TEXT_HINT = "literal text needs quotes within quotes: \"'text'\""
_ARITHMETIC_HINT = "JMESPath has no arithmetic; write add(), sub(), mul(), div() or mod()"


class BadExpression(ValueError):
    """A syntax error: what is wrong where, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@lru_cache(maxsize=512)
def parse(source: str) -> Node:
    """Return jmespath.py's syntax tree, in which nodes have their `text`. Callers share it. Raises BadExpression.

    A `let` has a `binding` for each variable and then its body as children. A `variable` is one of those around it.
    """
    try:
        return _Parser(source).tree()
    except JMESPathError as error:
        raise BadExpression(_why(source, error), _hint(source, error)) from error
    except RecursionError as error:
        raise BadExpression("the expression is nested too deeply") from error


class _Lexer(Lexer):
    SIMPLE_TOKENS: ClassVar = {**Lexer.SIMPLE_TOKENS, "$": "dollar", "=": "assign"}


def _tokens(source: str) -> list[Any]:
    """Return the tokens of an expression, with `==` and `$name` as one token each."""
    tokens: list[Any] = []
    for token in _Lexer().tokenize(source):
        last = tokens[-1] if tokens else {"type": "", "end": -1}
        pair = (last["type"], token["type"]) if last["end"] == token["start"] else ()
        if pair == ("assign", "assign"):
            tokens[-1] = {"type": "eq", "value": "==", "start": last["start"], "end": token["end"]}
        elif pair == ("dollar", "unquoted_identifier"):
            tokens[-1] = {**token, "type": "variable", "value": f"${token['value']}", "start": last["start"]}
        else:
            tokens.append(token)
    return tokens


class _Parser(_Library):  # type: ignore[misc]  # as above
    BINDING_POWER: ClassVar = {**Parser.BINDING_POWER, "assign": 0, "dollar": 0, "variable": 0}

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source
        self._tokens = _tokens(source)
        self._variables: frozenset[str] = frozenset()

    def tree(self) -> Node:
        tree = self._expression()
        if self._current_token() != "eof":
            self._raise_parse_error_for_token(self._lookahead_token(0), "unexpected token")
        return tree

    def _expression(self, binding_power: int = 0) -> Node:
        """Parse as jmespath.py does, and add the text of each node."""
        first = self._lookahead_token(0)
        self._advance()
        begin = f"_token_nud_{first['type']}"
        node: Node = getattr(self, begin)(first) if hasattr(self, begin) else self._error_nud_token(first)
        node["text"] = self._text_since(first)
        while binding_power < self.BINDING_POWER[kind := self._current_token()]:
            extend = f"_token_led_{kind}"
            if not hasattr(self, extend):
                self._error_led_token(self._lookahead_token(0))
            self._advance()
            node = getattr(self, extend)(node)
            node["text"] = self._text_since(first)
        return node

    def _text_since(self, first: Token) -> str:
        return self._source[first["start"] : self._lookahead_token(0)["start"]].rstrip()

    def _token_nud_unquoted_identifier(self, token: Token) -> Node:
        if token["value"] != "let" or self._current_token() != "variable":
            return {"type": "field", "children": [], "value": token["value"]}
        bindings: list[Node] = []
        while not bindings or self._current_token() == "comma":
            if bindings:
                self._advance()
            name = self._lookahead_token(0)["value"]
            self._match("variable")
            self._match("assign")
            bindings.append({"type": "binding", "value": name, "children": [self._expression()]})
        if self._lookahead_token(0)["value"] != "in":
            self._raise_parse_error_maybe_eof("in", self._lookahead_token(0))
        self._advance()
        outer = self._variables
        self._variables = outer.union(binding["value"] for binding in bindings)
        body = self._expression()
        self._variables = outer
        return {"type": "let", "children": [*bindings, body]}

    def _token_nud_variable(self, token: Token) -> Node:
        if token["value"] not in self._variables:
            hint = did_you_mean(token["value"], self._variables) or "write `let $name = expression in expression`"
            raise BadExpression(f"{self._source!r}: unknown variable {token['value']}", hint)
        return {"type": "variable", "value": token["value"], "children": []}


def _why(source: str, error: JMESPathError) -> str:
    if isinstance(error, EmptyExpressionError):
        return "an empty text is not a JMESPath expression"
    if isinstance(error, IncompleteExpressionError):
        return f"{source!r} is not JMESPath (it ends too early)"
    position = getattr(error, "lexer_position", getattr(error, "lex_position", None))
    if isinstance(error, LexerError):
        return f"{source!r} is not JMESPath ({error.message.lower()} at character {(position or 0) + 1})"
    token = getattr(error, "token_value", None)
    if position is None or token is None:
        return f"{source!r} is not JMESPath"
    return f"{source!r} is not JMESPath (unexpected {str(token)!r} at character {position + 1})"


def _hint(source: str, error: JMESPathError) -> str:
    token, position = getattr(error, "token_value", None), getattr(error, "lex_position", 0) or 0
    follows_a_value = re.search(r"[\w)\]}\"'`]\s*$", source[:position]) is not None
    if follows_a_value and (token in ("+", "-", "/", "%", "*") or (isinstance(token, int) and token < 0)):
        return _ARITHMETIC_HINT
    return f"a number is written in backticks: `{token}`" if isinstance(token, int) else _TEXT_HINT
