"""Templates, and the syntax of the values that carriers hold.

A template is text with `{name}` or `{name|filter|filter:argument}`. It is typed when the spec is loaded: a digest must
be encoded before it is joined to text.

A carrier's value is a template of slots (`TextSyntax`), a scheme with parameters (`ParamsSyntax`), or a scheme with a
text in base64 (`Base64Syntax`). Each one writes slots and reads back what it wrote. `compile_syntax` rejects a template
that could be read in two ways.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Protocol

from gateway.core.recipe.filters import FILTERS, Filter, Kind, to_bytes, to_text
from gateway.core.text import did_you_mean

Value = str | bytes


class Values(Protocol):
    """The value of each name that a template may read."""

    def __getitem__(self, name: str, /) -> Value: ...


# What every template may read of a request. `header.NAME` is text too, empty when the header is absent.
REQUEST_NAMES = {
    "method": Kind.TEXT,
    "scheme": Kind.TEXT,
    "host": Kind.TEXT,
    "target": Kind.TEXT,
    "path": Kind.TEXT,
    "query": Kind.TEXT,
    "url": Kind.TEXT,
    "body": Kind.BYTES,
}
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}|[{}]")


class ComputedValues(dict[str, Value]):
    """The values of names. An absent one is computed by its function on first use."""

    __slots__ = ("functions",)

    def __init__(self, values: Mapping[str, Value], functions: Mapping[str, Callable[[Any], Value]]) -> None:
        super().__init__(values)
        self.functions = functions

    def __missing__(self, name: str) -> Value:
        value = self[name] = self.functions[name](self)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self)})"  # the values include secrets


class RecipeError(Exception):
    """An error in a recipe: what is wrong, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in a template, and the filters that are applied to its value."""

    name: str
    filters: tuple[tuple[Filter, str], ...]
    kind: Kind

    def filtered(self, value: Any) -> Any:
        for step, argument in self.filters:
            value = step.apply(value, argument)
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and references, in order. `kind` is the kind of the joined value.

    `value` returns the value for a map of names. `names` are those that it reads.
    """

    source: str
    parts: tuple[str | Reference, ...]
    kind: Kind
    names: frozenset[str] = field(init=False)
    value: Callable[[Values], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = frozenset(part.name for part in self.parts if isinstance(part, Reference))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "value", joined(self.parts, self.kind))


def joined(parts: Sequence[str | Reference], kind: Kind) -> Callable[[Any], Any]:
    """Return the function that joins the parts to text or bytes; one becomes the other by UTF-8."""
    references = [part for part in parts if isinstance(part, Reference)]
    functions = [_function(reference) for reference in references]
    if len(parts) == len(functions) == 1:
        return functions[0]
    pattern = "".join("%s" if isinstance(part, Reference) else part.replace("%", "%%") for part in parts)
    if kind is not Kind.TEXT:
        raw = to_bytes(pattern)
        return lambda values: raw % tuple([to_bytes(function(values)) for function in functions])
    if all(reference.kind is Kind.TEXT for reference in references):
        return lambda values: pattern % tuple([function(values) for function in functions])
    return lambda values: pattern % tuple([to_text(function(values)) for function in functions])


def _function(reference: Reference) -> Callable[[Any], Any]:
    if not reference.filters:
        return itemgetter(reference.name)
    name, filtered = reference.name, reference.filtered
    return lambda values: filtered(values[name])


def compile_template(source: str, kinds: Mapping[str, Kind]) -> Template:
    """Compile a template; `kinds` are the names it may read. Raises RecipeError."""
    parts: list[str | Reference] = []
    end = 0
    for match in _PLACEHOLDER.finditer(source):
        if match.start() > end:
            parts.append(source[end : match.start()])
        if match[1] is None:
            raise RecipeError(f"{source!r} has an unmatched brace")
        parts.append(_reference(match[1], kinds))
        end = match.end()
    if end < len(source) or not parts:
        parts.append(source[end:])
    found = {part.kind for part in parts if isinstance(part, Reference)}
    if len(parts) == 1:
        return Template(source, tuple(parts), next(iter(found), Kind.TEXT))
    if Kind.DIGEST in found:
        raise RecipeError(f"{source!r} joins a digest to text", "encode it: {…|hex} or {…|base64}")
    return Template(source, tuple(parts), Kind.BYTES if Kind.BYTES in found else Kind.TEXT)


def join_lines(lines: Sequence[Template]) -> Template:
    """Return the template of these lines, without a line feed at the end. Bytes become text."""
    parts = [part for line in lines for part in ("\n", *line.parts)][1:]
    return Template("\n".join(line.source for line in lines), (*parts, ""), Kind.TEXT)


def _reference(text: str, kinds: Mapping[str, Kind]) -> Reference:
    name, *filters = text.split("|")
    kind = Kind.TEXT if name.startswith("header.") else kinds.get(name)
    if kind is None:
        raise RecipeError(f"unknown name {name!r}", did_you_mean(name, kinds.keys()))
    applied = []
    for part in filters:
        word, colon, argument = part.partition(":")
        step = FILTERS.get(word)
        if step is None:
            raise RecipeError(f"unknown filter {word!r}", did_you_mean(word, FILTERS.keys()))
        if colon and step.argument is None:
            raise RecipeError(f"the filter {word!r} takes no argument")
        if len(argument) < step.min_argument_chars:
            raise RecipeError(f"the filter {word!r} needs an argument", f"write {word}:{'x' * step.min_argument_chars}")
        if kind not in step.takes:
            what = "a digest" if kind is Kind.DIGEST else kind
            raise RecipeError(f"{{{text}}}: {word!r} does not take {what}", "hash text or bytes, encode a digest")
        applied.append((step, argument if colon else step.argument or ""))
        kind = step.gives
    return Reference(name, tuple(applied), kind)


@dataclass(frozen=True, slots=True)
class TextSyntax:
    """A template of slots and literals; `pattern` has a named group for each slot."""

    template: Template
    pattern: re.Pattern[str]
    slots: frozenset[str] = field(init=False)
    write: Callable[[Values], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", self.template.names)
        object.__setattr__(self, "write", self.template.value)

    def read(self, text: str) -> dict[str, str] | None:
        """Return the text of each slot, or None if the text does not match."""
        match = self.pattern.fullmatch(text)
        return None if match is None else match.groupdict()


@dataclass(frozen=True, slots=True)
class ParamsSyntax:
    """`Scheme name=value, name="value"`: written in order, read in any order.

    A parameter without slots may be absent. Unknown and repeated parameters are rejected.
    """

    scheme: str
    params: Mapping[str, TextSyntax]
    sep: str
    quote: bool
    slots: frozenset[str] = field(init=False)
    write: Callable[[Values], str] = field(init=False, repr=False, compare=False)
    _part: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        mark = '"' if self.quote else ""
        parts: list[str | Reference] = []
        for name, syntax in self.params.items():
            parts += [f"{self.sep if parts else self.scheme + ' '}{name}={mark}", *syntax.template.parts, mark]
        slots = frozenset(slot for syntax in self.params.values() for slot in syntax.slots)
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "write", joined(parts, Kind.TEXT))
        sep = re.escape(self.sep.strip() or ",")
        object.__setattr__(self, "_part", re.compile(rf'(?:"[^"]*+"|[^"{sep}]++)++|"'))

    def read(self, text: str) -> dict[str, str] | None:
        scheme, blank, rest = text.partition(" ")
        if scheme != self.scheme or not blank:
            return None
        written = self._split(rest)
        if written is None or not written.keys() <= self.params.keys():
            return None
        slots: dict[str, str] = {}
        for name, syntax in self.params.items():
            if name not in written:
                if syntax.slots:
                    return None
                continue
            read = syntax.read(written[name])
            if read is None or any(slots.setdefault(slot, value) != value for slot, value in read.items()):
                return None
        return slots

    def _split(self, text: str) -> dict[str, str] | None:
        """Split `a=b, c="d"` into a map; None if a part has no `=` or a name is repeated."""
        params: dict[str, str] = {}
        for part in self._part.findall(text):
            name, equals, value = part.strip(" \t").partition("=")
            if not equals or name in params:
                return None
            quoted = len(value) >= 2 and value[0] == value[-1] == '"'
            params[name] = value[1:-1] if quoted else value
        return params


@dataclass(frozen=True, slots=True)
class Base64Syntax:
    """`Scheme text`, where the text is another value in base64 (RFC 7617)."""

    scheme: str
    inner: TextSyntax

    @property
    def slots(self) -> frozenset[str]:
        return self.inner.slots

    def write(self, slots: Values) -> str:
        return f"{self.scheme} {base64.b64encode(to_bytes(self.inner.write(slots))).decode()}"

    def read(self, text: str) -> dict[str, str] | None:
        scheme, blank, rest = text.partition(" ")
        try:
            decoded = base64.b64decode(rest.strip(" \t"), validate=True).decode("utf-8")
        except ValueError:
            return None
        return self.inner.read(decoded) if scheme == self.scheme and blank else None


Syntax = TextSyntax | ParamsSyntax | Base64Syntax


def compile_syntax(template: Template, chars: Mapping[str, str]) -> TextSyntax:
    """Compile a template of slots to a syntax; `chars` is the pattern of each slot. Raises RecipeError."""
    pattern = ""
    seen: set[str] = set()
    for part, following in zip(template.parts, (*template.parts[1:], ""), strict=True):
        if isinstance(part, str):
            # Several spaces are equivalent to one (RFC 9110, section 5.6.3); servers strip them.
            pattern += re.escape(part).replace(r"\ ", " +")
            continue
        if part.filters:
            raise RecipeError(f"a carrier takes slots without filters, and {{{part.name}}} has a filter")
        if part.name not in chars:
            raise RecipeError(f"a carrier takes only slots, and {part.name!r} is not a slot")
        if isinstance(following, Reference) or (following and re.fullmatch(chars[part.name], following[0])):
            raise RecipeError(
                f"the end of {{{part.name}}} is ambiguous", "set its `chars`, or put a separator after it"
            )
        # A slot that occurs twice must have the same text in both places.
        pattern += f"(?P={part.name})" if part.name in seen else f"(?P<{part.name}>{chars[part.name]})"
        seen.add(part.name)
    return TextSyntax(template, re.compile(pattern))
