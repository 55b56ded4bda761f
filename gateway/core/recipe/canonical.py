"""Canonicalisation: collects pairs of names and values, then encodes, sorts and joins them."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal, Protocol

from gateway.core.http.json import write_number
from gateway.core.http.received import ReceivedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.syntax import Reference, Template, Values

Source = Literal["query", "form", "json", "headers", "slots"]
Sort = Literal["key", "pair", "item", "none"]


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """Chooses headers by name, by prefix, or all of them, without those that match `except_names`.

    In `except_names`, `x-*` is a prefix and `*_*` any name with an underscore. `names` may include pseudo headers,
    which are always present.
    """

    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    every: bool = False
    except_names: tuple[str, ...] = ()
    as_listed: bool = False
    _excepted: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        patterns = [re.escape(name).replace(r"\*", ".*") for name in self.except_names]
        object.__setattr__(self, "_excepted", re.compile("|".join(patterns)))

    def choose(self, present: Collection[str], pseudo: Collection[str] = ()) -> list[str]:
        """Return the chosen names in lower case, sorted, or in the order of `names`.

        `present` are the lower-case names of the request's headers.
        """
        listed = [name for name in self.names if name in present or name in pseudo]
        if self.as_listed:
            return listed
        if self.every or self.prefixes:
            prefixes = ("",) if self.every else self.prefixes
            matching = [name for name in present if name.startswith(prefixes)]
            listed += [name for name in matching if not self._excepted.fullmatch(name)]
        return sorted({*listed})


class RequestValues(Values, Protocol):
    """The values of names for one request."""

    message: ReceivedRequest

    def listed_headers(self, step: "PairsStep") -> Sequence[str]:
        """Return the names of the headers of a step."""
        ...


@dataclass(frozen=True, slots=True)
class PairsStep:
    """A step that canonicalises pairs. `slots` are the pairs of the source `slots`; `key` and `value` encode them.

    Headers are those in the slot `header_list`, else those that `choose` names; `pseudo` are headers that the request
    does not have, such as `(request-target)`. `item` prints a pair with the names `k` and `v`; `item_empty` prints a
    pair with an empty value. Items of a JSON list are numbered from `first_index`.
    """

    sources: tuple[Source, ...]
    slots: Mapping[str, Template]
    header_list: str | None
    choose: HeaderRule
    pseudo: Mapping[str, Template]
    except_names: frozenset[str]
    key: Reference
    value: Reference
    sort: Sort
    item: Template
    item_empty: Template | None
    skip_empty: bool
    skip_bare: bool
    join: str
    prefix: str
    end: str
    first_index: int
    _item: Callable[[str, str], str] = field(init=False, repr=False, compare=False)
    _item_empty: Callable[[str, str], str] = field(init=False, repr=False, compare=False)
    _fixed: Callable[[Values], str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_item", _pair_writer(self.item))
        object.__setattr__(self, "_item_empty", _pair_writer(self.item_empty or self.item))
        object.__setattr__(self, "_fixed", _fixed_writer(self))

    @property
    def names(self) -> frozenset[str]:
        templates = [*self.slots.values(), *self.pseudo.values()]
        return frozenset({self.header_list} if self.header_list else ()).union(*(each.names for each in templates))

    def text(self, values: RequestValues) -> str:
        """Return the canonical text of the pairs. The prefix is written only if there are pairs.

        The values of a repeated header are encoded one by one and joined by commas (SigV4, CanonicalHeaders).
        """
        if self._fixed is not None:
            return self._fixed(values)
        pairs = []
        encode_key, encode_value = self.key.filtered, self.value.filtered
        for name, parts in self._collect(values):
            if name in self.except_names or (self.skip_empty and not any(parts)):
                continue
            if self.value.filters:
                parts = [encode_value(part) for part in parts]
            pairs.append((encode_key(name), parts[0] if len(parts) == 1 else ",".join(parts)))
        if self.sort == "key":
            pairs.sort(key=itemgetter(0))
        elif self.sort == "pair":
            pairs.sort()
        item, item_empty = self._item, self._item_empty
        items = [(item if value else item_empty)(key, value) for key, value in pairs]
        if self.sort == "item":
            items.sort()
        return (self.prefix if items else "") + self.join.join(items) + self.end

    def _collect(self, values: RequestValues) -> list[tuple[str, Sequence[str]]]:
        message = values.message
        collected: list[tuple[str, Sequence[str]]] = []
        for source in self.sources:
            pairs: Iterable[tuple[str, str]] = ()
            if source == "headers":
                index = message.request.header_index
                for name in values.listed_headers(self):
                    pseudo = self.pseudo.get(name)
                    collected.append((name, index.get(name, ()) if pseudo is None else [to_text(pseudo.value(values))]))
            elif source == "query":
                pairs = message.bound_query if self.skip_bare else message.query
            elif source == "form" and message.body_kind == "form":
                pairs = message.form
            elif source == "json" and message.body_kind == "json":
                pairs = _json_members(self, message)
            elif source == "slots":
                pairs = [(name, to_text(template.value(values))) for name, template in self.slots.items()]
            collected += [(name, [value]) for name, value in pairs]
        return collected


def _fixed_writer(step: PairsStep) -> Callable[[Values], str] | None:
    """Return the function of a step whose names and order are known at load, because all its pairs are slots."""
    pairs = {
        step.key.filtered(name): template for name, template in step.slots.items() if name not in step.except_names
    }
    references = [part for part in step.item.parts if isinstance(part, Reference)]
    by_value = step.sort == "item" or step.skip_empty or step.item_empty or any(each.filters for each in references)
    if step.sources != ("slots",) or by_value or len(pairs) < len(step.slots):
        return None
    if step.sort != "none":
        pairs = dict(sorted(pairs.items()))
    mark = "\0"
    text = step.join.join([step._item(key, mark) for key in pairs])
    pattern = ((step.prefix if pairs else "") + text + step.end).replace("%", "%%").replace(mark, "%s")
    if pattern.count("%s") != len(pairs):
        return None
    functions = [template.value for template in pairs.values()]
    encode = step.value.filtered if step.value.filters else to_text
    return lambda values: pattern % tuple([encode(to_text(function(values))) for function in functions])


def _pair_writer(template: Template) -> Callable[[str, str], str]:
    """Return the function that prints a pair."""
    if any(isinstance(part, Reference) and part.filters for part in template.parts):
        return lambda key, value: to_text(template.value({"k": key, "v": value}))
    marks = {"k": "{0}", "v": "{1}"}
    parts = [marks[part.name] if isinstance(part, Reference) else part for part in template.parts]
    return "".join(parts).format  # literals have no braces


def _json_members(step: PairsStep, message: ReceivedRequest) -> Sequence[tuple[str, str]]:
    """Return the flattened members of a JSON body.

    The length is limited because the name of a deep member repeats the names of all its parents.
    """
    members: list[tuple[str, str]] = []
    chars = 0
    for name, value in _flattened(message.body, "", step.first_index):
        members.append((name, value))
        chars += len(name) + len(value)
        if len(members) > message.caps.parameters:
            raise message.too_many()
        if chars > message.caps.inflated_bytes:
            raise CallerError.of(Reason.TOO_LARGE, "the names and values to sign are larger than a body may be")
    return members


def _flattened(value: Any, path: str, first_index: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _flattened(member, f"{path}.{name}" if path else name, first_index)
    elif isinstance(value, list):
        for index, member in enumerate(value, first_index):
            yield from _flattened(member, f"{path}.{index}", first_index)
    elif isinstance(value, bool):
        yield path, "true" if value else "false"
    elif isinstance(value, float) and value.is_integer():
        yield path, str(int(value))
    elif isinstance(value, int | float):
        yield path, write_number(value)
    elif value is not None:
        yield path, str(value)
