"""The canonicaliser: collects name and value pairs, encodes, sorts and joins them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.core.http.json import write_number
from gateway.core.http.received import ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.template import Reference, Template, Values

Source = Literal["query", "form", "json", "headers", "slots"]
Sort = Literal["key", "pair", "item", "none"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A rule that chooses headers: by name, by prefix, or every one; never those of `except_names`.

    A name that ends in `*` within `except_names` is a prefix, and `*_*` any name with an underscore. `names` may hold
    pseudo headers, which are always there.
    """

    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    every: bool = False
    except_names: tuple[str, ...] = ()
    as_listed: bool = False

    def choose(self, request: Request, pseudo: Collection[str] = ()) -> list[str]:
        """Return the lower-case names that the rule chooses, sorted, or in the order of `names`."""
        present = dict.fromkeys(name.lower() for name, _ in request.headers)
        listed = [name for name in self.names if name in present or name in pseudo]
        if self.as_listed:
            return listed
        matching = [name for name in present if self.every or name.startswith(self.prefixes or ("\0",))]
        return sorted({*listed, *(name for name in matching if not self._is_excepted(name))})

    def _is_excepted(self, name: str) -> bool:
        return any(_fits(name, pattern) for pattern in self.except_names)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A step. `slots` are the pairs of the source `slots`; `key` and `value` encode the two sides.

    Headers are those of the slot `header_list`, else those that `choose` names; `pseudo` are headers that the request
    does not have, such as `(request-target)`. `item` prints a pair, its names `k` and `v`; `item_empty` does so where
    the value is empty. Items of a JSON list are numbered from `first_index`.
    """

    sources: tuple[Source, ...]
    slots: Mapping[str, Template]
    header_list: str | None
    choose: Chosen
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


def canonical(step: Pairs, message: ReceivedRequest, values: Values, headers: Sequence[str]) -> str:
    """Return the canonical text of the pairs; the prefix stands only where there are any.

    `headers` are the names that the source `headers` yields.
    """
    pairs = [
        (to_text(step.key.value({"k": name})), _shown(step, parts))
        for name, parts in _collect(step, message, values, headers)
        if name not in step.except_names and (any(parts) or not step.skip_empty)
    ]
    if step.sort == "key":
        pairs.sort(key=lambda pair: pair[0])
    elif step.sort == "pair":
        pairs.sort()
    items = [_item(step, key, value) for key, value in pairs]
    if step.sort == "item":
        items.sort()
    return (step.prefix if items else "") + step.join.join(items) + step.end


def _shown(step: Pairs, parts: Sequence[str]) -> str:
    """Encode a value; where a header repeats, each part by itself, joined by a comma (SigV4, CanonicalHeaders)."""
    return ",".join(to_text(step.value.value({"v": part})) for part in parts)


def _collect(
    step: Pairs, message: ReceivedRequest, values: Values, headers: Sequence[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    for source in step.sources:
        if source == "headers":
            for name in headers:
                pseudo = step.pseudo.get(name)
                yield name, message.header_values(name) if pseudo is None else [to_text(pseudo.value(values))]
            continue
        for name, value in _single(source, step, message, values):
            yield name, [value]


def _single(source: Source, step: Pairs, message: ReceivedRequest, values: Values) -> Iterable[tuple[str, str]]:
    if source == "query":
        return message.bound_query if step.skip_bare else message.query
    if source == "form":
        return message.form if message.body_kind == "form" else ()
    if source == "json":
        return _leaves(step, message)
    return ((name, to_text(template.value(values))) for name, template in step.slots.items())


def _leaves(step: Pairs, message: ReceivedRequest) -> Sequence[tuple[str, str]]:
    """Return the members of a JSON body. A long name counts anew for each member below it."""
    leaves: list[tuple[str, str]] = []
    chars = 0
    for name, value in _flattened(message.body if message.body_kind == "json" else {}, "", step.first_index):
        leaves.append((name, value))
        chars += len(name) + len(value)
        if len(leaves) > message.caps.parameters:
            raise message.too_many()
        if chars > message.caps.inflated_bytes:
            raise CallerError.of(Reason.TOO_LARGE, "the names and values to sign are larger than a body may be")
    return leaves


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


def _item(step: Pairs, key: str, value: str) -> str:
    template = step.item_empty if step.item_empty is not None and not value else step.item
    return to_text(template.value({"k": key, "v": value}))


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("*") and pattern.endswith("*"):
        return pattern.strip("*") in name
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern
