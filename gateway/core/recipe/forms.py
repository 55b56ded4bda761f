"""The forms in which slots stand in a header, parameter or member: a template, or a scheme with parameters.

Each prints slots, and parses what it printed; a form that could be parsed in two ways is refused when it is loaded.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.template import RecipeError, Reference, Template


@dataclass(frozen=True, slots=True)
class ValueForm:
    """A template of slots and literals; `pattern` has a named group for each slot."""

    template: Template
    pattern: re.Pattern[str]

    @property
    def slots(self) -> frozenset[str]:
        return self.template.names

    @property
    def source(self) -> str:
        return self.template.source

    def write(self, slots: Mapping[str, str]) -> str:
        return to_text(self.template.value(slots))

    def read(self, text: str) -> dict[str, str] | None:
        """Return the text of each slot; None when the form does not fit."""
        match = self.pattern.fullmatch(text)
        return None if match is None else match.groupdict()


@dataclass(frozen=True, slots=True)
class ParamsForm:
    """`Scheme name=value, name=value`: printed in order, parsed in any; a value may stand in quotes.

    A parameter that is a literal may be absent, one that is not known or stands twice is refused.
    """

    scheme: str
    params: Mapping[str, ValueForm]
    sep: str
    quote: bool

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(slot for form in self.params.values() for slot in form.slots)

    @property
    def source(self) -> str:
        return f"{self.scheme} {self.sep.join(f'{name}=…' for name in self.params)}"

    def write(self, slots: Mapping[str, str]) -> str:
        mark = '"' if self.quote else ""
        params = [f"{name}={mark}{form.write(slots)}{mark}" for name, form in self.params.items()]
        return f"{self.scheme} {self.sep.join(params)}"

    def read(self, text: str) -> dict[str, str] | None:
        scheme, blank, rest = text.partition(" ")
        if scheme != self.scheme or not blank:
            return None
        written = _split(rest, self.sep.strip() or ",")
        if written is None or not written.keys() <= self.params.keys():
            return None
        slots: dict[str, str] = {}
        for name, form in self.params.items():
            if name not in written:
                if form.slots:
                    return None
                continue
            read = form.read(written[name])
            if read is None or any(slots.setdefault(slot, value) != value for slot, value in read.items()):
                return None
        return slots


@dataclass(frozen=True, slots=True)
class EncodedForm:
    """`Scheme text`, the text being another form in base64 (RFC 7617)."""

    scheme: str
    inner: ValueForm

    @property
    def slots(self) -> frozenset[str]:
        return self.inner.slots

    @property
    def source(self) -> str:
        return f"{self.scheme} base64({self.inner.source})"

    def write(self, slots: Mapping[str, str]) -> str:
        return f"{self.scheme} {base64.b64encode(to_bytes(self.inner.write(slots))).decode()}"

    def read(self, text: str) -> dict[str, str] | None:
        scheme, blank, rest = text.partition(" ")
        try:
            decoded = base64.b64decode(rest.strip(" \t"), validate=True).decode("utf-8")
        except ValueError:
            return None
        return self.inner.read(decoded) if scheme == self.scheme and blank else None


Form = ValueForm | ParamsForm | EncodedForm


def value_form(template: Template, chars: Mapping[str, str]) -> ValueForm:
    """Return the form of a template whose slots have these characters. Raises RecipeError."""
    pattern = ""
    seen: set[str] = set()
    for part, following in zip(template.parts, (*template.parts[1:], ""), strict=True):
        if isinstance(part, str):
            # A run of blanks says no more than one blank (RFC 9110, section 5.6.3); servers trim it.
            pattern += re.escape(part).replace(r"\ ", " +")
            continue
        if part.filters:
            raise RecipeError(f"a carrier holds bare slots, and {{{part.name}}} has a filter")
        if part.name not in chars:
            raise RecipeError(f"a carrier holds slots, and {part.name!r} is none")
        if isinstance(following, Reference) or (following and re.fullmatch(chars[part.name], following[0])):
            raise RecipeError(
                f"where {{{part.name}}} ends cannot be told", "state its chars, or put a divider after it"
            )
        # The same slot twice in one form has to hold the same text.
        pattern += f"(?P={part.name})" if part.name in seen else f"(?P<{part.name}>{chars[part.name]})"
        seen.add(part.name)
    return ValueForm(template, re.compile(pattern))


def _split(text: str, sep: str) -> dict[str, str] | None:
    """Split `a=b, c="d"` into a map; None when a part is no pair or a name stands twice."""
    params: dict[str, str] = {}
    for part in re.findall(rf'(?:"[^"]*"|[^"{re.escape(sep)}])+|"', text):
        name, equals, value = part.strip(" \t").partition("=")
        if not equals or name in params:
            return None
        quoted = len(value) >= 2 and value[0] == value[-1] == '"'
        params[name] = value[1:-1] if quoted else value
    return params
