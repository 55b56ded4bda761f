"""The keys of a recipe's `steps` and `carry`."""

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, get_args

from gateway.core.recipe.canonical import HeaderRule, PairsStep, Sort, Source
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.model import ChainStep, Step
from gateway.core.recipe.slots import Carrier
from gateway.core.recipe.slots import Place as WirePlace
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
    join_lines,
)
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Invalid, Place
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.schema.slots import CHOOSE, HASH, TEMPLATE, compile_at, slot_name

ENCODE = "encode it: {…|hex} or {…|base64}"


def _text(what: str) -> t.Plain:
    """Return the type of templates whose values are text; `what` reports a digest."""

    def read(place: Place) -> Template:
        template: Template = TEMPLATE.read(place)
        if template.kind is Kind.DIGEST:
            place.error(what, ENCODE)
        return template

    return t.Plain("template", read, TEMPLATE.json)


_LINES = t.list_of(_text("a digest cannot be a line of text")).then(join_lines)
_TEMPLATES = t.map_of(TEMPLATE)
_SIDES = {"k": Kind.TEXT, "v": Kind.TEXT}
PAIR = t.Plain("template", lambda place: compile_at(place, _SIDES), {"type": "string"})


def _read_filters(place: Place) -> Reference:
    """Read `percent|upper`, which encodes one side of the pairs: that of `key` or `value`."""
    side, filters = place.name[0], t.TEXT.read(place)
    try:
        part = compile_template(f"{{{side}|{filters}}}" if filters else f"{{{side}}}", _SIDES).parts[0]
    except RecipeError as error:
        raise place.invalid(error.what, error.hint) from None
    part = part if isinstance(part, Reference) else Reference(side, (), Kind.TEXT)
    if part.kind is not Kind.TEXT:
        place.error(f"this gives a {part.kind}", ENCODE)
    return part


FILTERS = t.Plain("filters", _read_filters, {"type": "string"})


def _check_pairs(at: Place, pairs: PairsStep) -> None:
    stated = at.entries.keys()
    if bool(pairs.slots) != ("slots" in pairs.sources):
        at.error("`from: slots` and `slots` belong together")
    if ("headers" in pairs.sources) != (("list" in stated) != ("choose" in stated)):
        at.error("`from: headers` goes with one of `list` and `choose`")


_CHOSEN = slot_name("chosen")
_SOURCES = t.one_or_more(t.word(get_args(Source)))
PAIRS = Table(
    "pairs",
    PairsStep,
    Key("from", _SOURCES, "the sources of pairs. Members of a JSON object are flattened to `a.b.0`", to="sources"),
    optional("slots", t.map_of(_text("a digest cannot be a value")), "for `from: slots`: values by name", {}),
    optional("list", _CHOSEN, "for `from: headers`: the slot of kind chosen that contains the list", to="header_list"),
    optional("choose", CHOOSE, "for `from: headers`: the rule that chooses the headers", HeaderRule()),
    optional("pseudo", _TEMPLATES, "values of listed names that are not headers, such as `(request-target)`", {}),
    optional("except", t.TEXT_SET, "names to leave out", frozenset(), to="except_names"),
    optional("key", FILTERS, "filters for names", Reference("k", (), Kind.TEXT)),
    optional("value", FILTERS, "filters for values", Reference("v", (), Kind.TEXT)),
    optional("sort", t.word(get_args(Sort)), "the order", "key"),
    optional("item", PAIR, "one pair (`{k}={v}`)", compile_template("{k}={v}", _SIDES)),
    optional("item_empty", PAIR, "one pair whose value is empty"),
    optional("skip_empty", t.BOOLEAN, "`true` leaves out pairs without a value", False),
    optional("skip_bare", t.BOOLEAN, "`true` leaves out query parameters without an equals sign", False),
    optional("join", t.TEXT, "the separator", "&"),
    optional("prefix", t.TEXT, "a prefix if there are pairs", ""),
    optional("end", t.TEXT, "a suffix in any case", ""),
    optional("base", t.integer(at_least=0, at_most=1), "the first index of a JSON list", 0, to="first_index"),
    check=_check_pairs,
)


_HASH = Key("hash", HASH, "the hash")
_MESSAGES = t.list_of(TEMPLATE, at_least=1)
HMAC = Table(
    "hmac",
    lambda hash, key, of: ChainStep(hash, key, (of,)),
    _HASH,
    Key("key", TEMPLATE, "the key"),
    Key("of", TEMPLATE, "the message"),
)
CHAIN = Table(
    "chain", ChainStep, _HASH, Key("key", TEMPLATE, "the key of the first HMAC"), Key("of", _MESSAGES, "the messages")
)


def _step(at: Place, **steps: Step | None) -> Step:
    stated = [step for step in steps.values() if step is not None]
    if len(stated) != 1:
        raise at.invalid("a step is one of text, lines, pairs, hmac and chain")
    return stated[0]


STEP = Table(
    "step",
    _step,
    optional("text", TEMPLATE, "a template"),
    optional("lines", _LINES, "templates, joined by a line feed"),
    optional("pairs", PAIRS, "names and values"),
    optional("hmac", HMAC, "an HMAC, a digest"),
    optional("chain", CHAIN, "one HMAC for each message, each under the digest before it, a digest"),
)


def _read_steps(place: Place) -> dict[str, Step]:
    """Read the steps, each after the steps that it reads. A step with errors counts as text for the others."""
    t.map_of(t.ANYTHING, t.MEMBER_NAME).read(place)
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
            if isinstance(step, Template):
                kinds[name] = step.kind
            elif isinstance(step, ChainStep):
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


STEPS = t.Plain("map of step", _read_steps, t.map_of(STEP, t.MEMBER_NAME).json)
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
        raise place.invalid(error.what, error.hint) from None


VALUE = t.Plain("template", _read_value, {"type": "string"})


def _carrier(
    at: Place,
    value: TextSyntax | None,
    scheme: str | None,
    params: Mapping[str, TextSyntax],
    sep: str,
    quote: bool,
    as_: Literal["base64"] | None,
    type: Literal["text", "int"],
    optional: bool,
    **places: str | None,
) -> Carrier:
    stated = [place for place in PLACES if places[place] is not None]
    if len(stated) != 1:
        at.error(f"a carrier has one of {', '.join(PLACES)}")
    if (value is None) == (not params):
        at.error("a carrier has either `value` or `params`")
    if (scheme is None) != (as_ is None and not params):
        at.error("`scheme` goes with `params` or with `as: base64`")
    if at.scope.document.errors:
        raise Invalid
    written: Syntax | None = value
    if params:
        written = ParamsSyntax(scheme or "", params, sep, quote)
    elif as_ is not None and value is not None:
        written = Base64Syntax(scheme or "", value)
    assert written is not None
    return Carrier(stated[0], places[stated[0]] or "", written, type, optional)


CARRIER = Table(
    "carrier",
    _carrier,
    optional("header", t.TEXT, "name of a header field"),
    optional("query", t.TEXT, "name of a query parameter"),
    optional("form", t.TEXT, "name of a field of a form"),
    optional("json", t.TEXT, "dotted name of a member of a JSON body"),
    optional("param", t.TEXT, "name of a query parameter if there is no body, else of a member or field of the body"),
    optional("value", VALUE, "a template of slots, without filters, and literals"),
    optional("params", t.map_of(VALUE), "instead of `value`: `Scheme name=value, name=value`; read in any order", {}),
    optional("scheme", t.TEXT, "the word before `params`, or before `value` in base64"),
    optional("sep", t.TEXT, "the separator of `params`", ", "),
    optional("quote", t.BOOLEAN, "`true` puts the values of `params` in quotes", False),
    optional("as", t.word(("base64",)), "`Scheme`, then `value` in base64"),
    optional("type", t.word(("text", "int")), "`int` writes a number into JSON", "text"),
    optional("optional", t.BOOLEAN, "`true`: may be absent; it is written only if its slots are configured", False),
)
CARRIERS = t.list_of(CARRIER, at_least=1)
