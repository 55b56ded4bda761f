"""The canonicaliser: collects name and value pairs, encodes, sorts and joins them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.core.message import Message
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.template import Reference, Template, Value

Source = Literal["query", "form", "slots"]
Sort = Literal["key", "pair", "item", "none"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A step. `slots` are the pairs of the source `slots`; `key` and `value` encode the two sides.

    `item` prints a pair, its names `k` and `v`; `item_empty` does so where the value is empty.
    """

    sources: tuple[Source, ...]
    slots: Mapping[str, Template]
    except_names: frozenset[str]
    key: Reference
    value: Reference
    sort: Sort
    item: Template
    item_empty: Template | None
    skip_empty: bool
    join: str
    prefix: str
    end: str


def canonical(step: Pairs, message: Message, values: Mapping[str, Value]) -> str:
    """Return the canonical text of the pairs; the prefix stands only where there are any."""
    pairs = [
        (to_text(step.key.value({"k": name})), to_text(step.value.value({"v": value})))
        for name, value in _collect(step, message, values)
        if name not in step.except_names and (value or not step.skip_empty)
    ]
    if step.sort == "key":
        pairs.sort(key=lambda pair: pair[0])
    elif step.sort == "pair":
        pairs.sort()
    items = [_item(step, key, value) for key, value in pairs]
    if step.sort == "item":
        items.sort()
    return (step.prefix if items else "") + step.join.join(items) + step.end


def _collect(step: Pairs, message: Message, values: Mapping[str, Value]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for source in step.sources:
        if source == "query":
            pairs += message.query
        elif source == "form":
            pairs += message.form
        else:
            pairs += [(name, to_text(template.value(values))) for name, template in step.slots.items()]
    return pairs


def _item(step: Pairs, key: str, value: str) -> str:
    template = step.item_empty if step.item_empty is not None and not value else step.item
    return to_text(template.value({"k": key, "v": value}))
