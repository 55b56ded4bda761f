"""gateway matrix: what each provider can represent of a data point, and what is lost from one to another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gateway.commands.arguments.loading import load_or_fail, named
from gateway.commands.arguments.options import SpecFolder
from gateway.commands.output.errors import fail, misuse
from gateway.commands.output.losses import lost_words
from gateway.commands.output.printing import MAX_TABLE_CHARS, heading, line, print_pairs, table_lines
from gateway.core.points.decode import FIELD_READERS
from gateway.core.vendor.provider import Provider
from gateway.proof.capabilities import Capabilities, probe_capabilities
from gateway.proof.loss import IDENTITY, Loss, expressible_by, find_loss
from gateway.proof.probe import ProbeFailed, own_targets
from gateway.specs.load import Specs

UNKNOWN = "?"
LETTERS = {
    "namespace": "N",
    "metric": "M",
    "attributes": "A",
    "value": "V",
    "stats": "S",
    "unit": "U",
    "time_ns": "T",
}
LEGEND = """\
N namespace, M metric, A attributes: two series would become one; rejected until `points.allow_loss` names it.
V value, U unit, T time: a warning, until it is named there. S stats: each becomes a separate data point.
A small letter: lost in part. +n: required and never stated: the route has to set it. ·: nothing is lost. ?: not known.\
"""


def matrix(
    source: Annotated[str | None, typer.Argument(metavar="FROM", help="Whose reports; default: all.")] = None,
    target: Annotated[str | None, typer.Argument(metavar="TO", help="To whom; default: all.")] = None,
    routes: SpecFolder = None,
) -> None:
    """Show what each provider can store, and what is lost between two.

    Sample data points are encoded by each provider and decoded by the same provider.

    \b
    Example:
      gateway matrix acme zeta
    """
    if (source is None) != (target is None):
        misuse("name both providers, FROM and TO, or none")
    specs = load_or_fail(routes, strict_environment=False)
    if source is not None and target is not None:
        _show_pair(_pair_named(specs, source, target))
        return
    known = sorted(specs.providers.values(), key=lambda each: each.name)
    providers = [each for each in known if not each.relay]
    pairs = list(_pairs(providers, providers))
    for text in (*_held_table(providers), "", *_lost_tables(pairs), "", *LEGEND.splitlines()):
        line(text)


@dataclass(frozen=True, slots=True)
class Pair:
    """A provider that receives, one that sends, and what is lost; without a `loss`, `why` says why it is unknown."""

    source: str
    target: str
    stated: Capabilities
    loss: Loss | None
    why: str = ""


def _pairs(sources: Sequence[Provider], targets: Sequence[Provider]) -> Iterator[Pair]:
    for source in sources:
        for target in targets:
            if source.receive is None or target.send is None or source.relay or target.relay:
                continue
            stated = expressible_by(source, names=target.attribute_names)
            try:
                yield Pair(source.name, target.name, stated, find_loss(stated, own_targets(target)[0]))
            except ProbeFailed as error:
                yield Pair(source.name, target.name, stated, None, str(error))


def _pair_named(specs: Specs, source: str, target: str) -> Pair:
    found = list(_pairs(*([named("provider", name, specs.providers)] for name in (source, target))))
    if not found:
        fail(f"no report goes from {source} to {target}: one of them has no such role")
    return found[0]


def _show_pair(pair: Pair) -> None:
    heading(f"{pair.source} to {pair.target}")
    if pair.loss is None:
        line(f"{UNKNOWN}  {pair.target} cannot read what it sends: {pair.why}")
        return
    words = {each.field: lost_words(each) for each in pair.loss.lost}
    words |= {
        name: f"{pair.target} requires it, and no report has it: set it in the route" for name in pair.loss.missing
    }
    stated = _stated_fields(pair.stated)
    print_pairs({n: words.get(n, "arrives" if n in stated else "is not stated") for n in FIELD_READERS})


def _stated_fields(stated: Capabilities) -> set[str]:
    fields = {name for name, value in stated.arrived.as_mapping().items() if value}
    others = {"unit": stated.units, "stats": stated.stats, "time_ns": stated.has_time}
    return (fields - {"time_ns"}) | {name for name, value in others.items() if value}


def _held_table(providers: list[Provider]) -> list[str]:
    rows = [["provider", "namespace", "metric", "value", "stats", "unit", "time", "attributes"]]
    for provider in providers:
        if provider.send is not None:
            try:
                words = list(probe_capabilities(own_targets(provider)[0]).words().values())
            except ProbeFailed:
                words = [UNKNOWN] * len(FIELD_READERS)
            rows.append([provider.name, *words])
    return table_lines(rows)


def _lost_tables(pairs: list[Pair]) -> list[str]:
    """Return one table, or several with some of the targets each, none wider than MAX_TABLE_CHARS."""
    cells = {(pair.source, pair.target): _cell(pair) for pair in pairs}
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    lines: list[str] = []
    todo = list(dict.fromkeys(pair.target for pair in pairs))
    while todo:
        size = len(todo)
        while size > 1 and len(_lost_table(cells, sources, todo[:size])[0]) > MAX_TABLE_CHARS:
            size -= 1
        lines += [*([""] if lines else []), *_lost_table(cells, sources, todo[:size])]
        todo = todo[size:]
    return lines


def _lost_table(cells: dict[tuple[str, str], str], sources: list[str], targets: list[str]) -> list[str]:
    rows: list[list[str]] = [["from ╲ to", *targets]]
    rows += [[source, *(cells.get((source, target), "") for target in targets)] for source in sources]
    return table_lines(rows)


def _cell(pair: Pair) -> str:
    if pair.loss is None:
        return UNKNOWN
    lost: dict[str, Any] = {each.field: each.whole for each in pair.loss.lost}
    letters = [letter if lost[field] else letter.lower() for field, letter in LETTERS.items() if field in lost]
    merging = sum(field in IDENTITY for field in lost)
    parts = ["".join(letters[:merging]), "".join(letters[merging:])]
    parts += [f"+{LETTERS[field].lower()}" for field in pair.loss.missing]
    return " ".join(part for part in parts if part) or "·"
