"""The keys of a recipe's `steps` and `carry`."""

import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, get_args

from gateway.core.recipe.canonical import HeaderRule, PairsStep, Sort, Source
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import Carrier, ChainStep, HmacStep, LinesStep, Step, TextStep
from gateway.core.recipe.model import Place as WirePlace
from gateway.core.recipe.syntax import (
    Base64Syntax,
    ParamsSyntax,
    RecipeError,
    Reference,
    Syntax,
    Template,
    TextSyntax,
    compile_syntax,
    compile_template,
)
from gateway.core.text import did_you_mean
from gateway.specs.binding.place import Invalid, Place
from gateway.specs.binding.table import Key, Table
from gateway.specs.binding.types import (
    ANYTHING,
    BOOLEAN,
    MEMBER_NAME,
    TEXT,
    Composed,
    Plain,
    integer,
    list_of,
    map_of,
    one_or_more,
    word,
)
from gateway.specs.schema.slots import CHOOSE, HASH, TEMPLATE, compile_at, slots_of_kind

_TEMPLATE_MAP = map_of(TEMPLATE)
_KEY, _VALUE = Reference("k", (), Kind.TEXT), Reference("v", (), Kind.TEXT)
_SIDES = {"k": Kind.TEXT, "v": Kind.TEXT}
_ITEM = compile_template("{k}={v}", _SIDES)
PAIR = Plain("template", lambda place: compile_at(place, _SIDES), {"type": "string"})


def _read_filters(place: Place) -> Reference:
    """Read `percent|upper`, which encodes one side of the pairs: that of `key` or `value`."""
    side, filters = place.name[0], TEXT.read(place)
    try:
        part = compile_template(f"{{{side}|{filters}}}" if filters else f"{{{side}}}", _SIDES).parts[0]
    except RecipeError as error:
        place.error(error.what, error.hint)
        raise Invalid from None
    return part if isinstance(part, Reference) else Reference(side, (), Kind.TEXT)


FILTERS = Plain("filters", _read_filters, {"type": "string"})


def _pairs(
    at: Place,
    from_: Sequence[Source],
    slots: Mapping[str, Template] | None = None,
    list: str | None = None,
    choose: HeaderRule | None = None,
    pseudo: Mapping[str, Template] | None = None,
    except_: Sequence[str] = (),
    key: Reference = _KEY,
    value: Reference = _VALUE,
    sort: Sort = "key",
    item: Template = _ITEM,
    item_empty: Template | None = None,
    skip_empty: bool = False,
    skip_bare: bool = False,
    join: str = "&",
    prefix: str = "",
    end: str = "",
    base: int = 0,
) -> PairsStep:
    if bool(slots) != ("slots" in from_):
        at.error("`from: slots` and `slots` belong together")
    if ("headers" in from_) != ((list is not None) != (choose is not None)):
        at.error("`from: headers` goes with one of `list` and `choose`")
    chosen = slots_of_kind(at, "chosen")
    if list is not None and list not in chosen:
        at.error(f"no slot of kind chosen is named {list!r}", did_you_mean(list, chosen), "list")
    return PairsStep(
        sources=tuple(from_),
        slots=slots or {},
        header_list=list,
        choose=choose or HeaderRule(),
        pseudo=pseudo or {},
        except_names=frozenset(except_),
        key=key,
        value=value,
        sort=sort,
        item=item,
        item_empty=item_empty,
        skip_empty=skip_empty,
        skip_bare=skip_bare,
        join=join,
        prefix=prefix,
        end=end,
        first_index=base,
    )


PAIRS = Table(
    "pairs",
    _pairs,
    Key(
        "from",
        one_or_more(word(get_args(Source))),
        "the sources of pairs. Members of a JSON object are flattened to `a.b.0`",
    ),
    Key("slots", _TEMPLATE_MAP, "for `from: slots`: values by name"),
    Key("list", TEXT, "for `from: headers`: the slot of kind chosen that contains the list"),
    Key("choose", CHOOSE, "for `from: headers`: the rule that chooses the headers"),
    Key("pseudo", _TEMPLATE_MAP, "values of names in that list that are not headers, such as `(request-target)`"),
    Key("except", list_of(TEXT), "names to leave out"),
    Key("key", FILTERS, "filters for names"),
    Key("value", FILTERS, "filters for values"),
    Key("sort", word(get_args(Sort)), "the order"),
    Key("item", PAIR, "one pair (`{k}={v}`)"),
    Key("item_empty", PAIR, "one pair whose value is empty"),
    Key("skip_empty", BOOLEAN, "`true` leaves out pairs without a value"),
    Key("skip_bare", BOOLEAN, "`true` leaves out query parameters without an equals sign"),
    Key("join", TEXT, "the separator"),
    Key("prefix", TEXT, "a prefix if there are pairs"),
    Key("end", TEXT, "a suffix in any case"),
    Key("base", integer(at_least=0, at_most=1), "the first index of a JSON list"),
)
HMAC = Table(
    "hmac", HmacStep, Key("hash", HASH, "the hash"), Key("key", TEMPLATE, "the key"), Key("of", TEMPLATE, "the message")
)
CHAIN = Table(
    "chain",
    ChainStep,
    Key("hash", HASH, "the hash"),
    Key("key", TEMPLATE, "the key of the first HMAC"),
    Key("of", list_of(TEMPLATE, at_least=1), "the messages"),
)


def _step(
    at: Place,
    text: Template | None = None,
    lines: Sequence[Template] | None = None,
    pairs: PairsStep | None = None,
    hmac: HmacStep | None = None,
    chain: ChainStep | None = None,
) -> Step:
    steps = [
        None if text is None else TextStep(text),
        None if lines is None else LinesStep(tuple(lines)),
        pairs,
        hmac,
        chain,
    ]
    stated = [step for step in steps if step is not None]
    if len(stated) != 1:
        at.error("a step is one of text, lines, pairs, hmac and chain")
        raise Invalid
    return stated[0]


STEP = Table(
    "step",
    _step,
    Key("text", TEMPLATE, "a template"),
    Key("lines", list_of(TEMPLATE), "templates, joined by a line feed"),
    Key("pairs", PAIRS, "names and values"),
    Key("hmac", HMAC, "an HMAC, a digest"),
    Key("chain", CHAIN, "one HMAC for each message, each under the digest before it, a digest"),
)


def _read_steps(place: Place) -> dict[str, Step]:
    """Read the steps, each after the steps that it reads. A step with errors counts as text for the others."""
    map_of(ANYTHING, MEMBER_NAME).read(place)
    sources = {name: _names_in(source) & place.entries.keys() for name, source in place.plain.items()}
    kinds, steps, errors = place.scope.kinds, dict[str, Step](), False
    for name in sorted(place.entries.keys() & kinds.keys()):
        place.error(f"{name!r} is already the name of a slot or of a part of the request", "", name, at_key=True)
        errors = True
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        circle = error.args[1]
        place.error(f"the steps form a cycle: {' -> '.join(reversed(circle))}", "", circle[0])
        raise Invalid from None
    for name in order:
        kinds[name] = Kind.TEXT
        try:
            steps[name] = step = STEP.read(place.at(name))
            if isinstance(step, TextStep):
                kinds[name] = step.of.kind
            elif isinstance(step, HmacStep | ChainStep):
                kinds[name] = Kind.DIGEST
        except Invalid:
            errors = True
    if errors:
        raise Invalid
    return steps


def _names_in(source: Any) -> set[str]:
    """Return each name in braces anywhere in a step as written."""
    if isinstance(source, str):
        return {name.split("|")[0] for name in re.findall(r"\{([^{}]*)\}", source)}
    parts = source.values() if isinstance(source, dict) else source if isinstance(source, list) else ()
    return {name for part in parts for name in _names_in(part)}


STEPS = Composed("map of step", _read_steps, map_of(STEP, MEMBER_NAME).schema)
PLACES = get_args(WirePlace)


def _read_value(place: Place) -> TextSyntax:
    """Read a template of slots."""
    slots = place.scope.slots
    template = compile_at(place, dict.fromkeys(place.scope.slot_names, Kind.TEXT))
    if template.names - slots.keys():  # slots with errors
        raise Invalid
    try:
        return compile_syntax(template, {name: slot.chars for name, slot in slots.items()})
    except RecipeError as error:
        place.error(error.what, error.hint)
        raise Invalid from None


VALUE = Plain("template", _read_value, {"type": "string"})


def _carrier(
    at: Place,
    header: str | None = None,
    query: str | None = None,
    form: str | None = None,
    json: str | None = None,
    param: str | None = None,
    value: TextSyntax | None = None,
    scheme: str | None = None,
    params: Mapping[str, TextSyntax] | None = None,
    sep: str = ", ",
    quote: bool = False,
    as_: Literal["base64"] | None = None,
    type: Literal["text", "int"] = "text",
    optional: bool = False,
) -> Carrier:
    names = dict(zip(PLACES, (header, query, form, json, param), strict=True))
    stated = [(place, name) for place, name in names.items() if name is not None]
    if len(stated) != 1:
        at.error(f"a carrier has one of {', '.join(PLACES)}")
    if (value is None) == (not params):
        at.error("a carrier has either `value` or `params`")
    if (scheme is None) != (as_ is None and not params):
        at.error("`scheme` goes with `params` or with `as: base64`")
    if at.scope.document.errors:
        raise Invalid
    written: Syntax
    if params:
        written = ParamsSyntax(scheme or "", params, sep, quote)
    else:
        assert value is not None
        written = value if as_ is None else Base64Syntax(scheme or "", value)
    return Carrier(*stated[0], written, type, optional)


CARRIER = Table(
    "carrier",
    _carrier,
    Key("header", TEXT, "name of a header field"),
    Key("query", TEXT, "name of a query parameter"),
    Key("form", TEXT, "name of a field of a form"),
    Key("json", TEXT, "dotted name of a member of a JSON body"),
    Key("param", TEXT, "name of a query parameter if there is no body, otherwise of a member or field of the body"),
    Key("value", VALUE, "a template of slots, without filters, and literals"),
    Key("scheme", TEXT, "the word before `params`, or before `value` in base64"),
    Key("params", map_of(VALUE), "instead of `value`: `Scheme name=value, name=value`; read in any order"),
    Key("sep", TEXT, "the separator of `params`"),
    Key("quote", BOOLEAN, "`true` puts the values of `params` in quotes"),
    Key("as", word(("base64",)), "`Scheme`, then `value` in base64"),
    Key("type", word(("text", "int")), "`int` writes a number into JSON"),
    Key("optional", BOOLEAN, "`true`: may be absent; it is written only if its slots are configured"),
)
