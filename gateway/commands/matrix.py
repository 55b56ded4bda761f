"""gateway matrix: what each provider can represent of a data point, and what is lost from one to another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gateway.commands.arguments.loading import load_or_fail, named
from gateway.commands.arguments.options import SpecFolder
from gateway.commands.output.errors import fail, misuse
from gateway.commands.output.printing import MAX_TABLE_CHARS, heading, line, print_pairs, table_lines
from gateway.core.points.decode import FIELD_READERS
from gateway.core.vendor.provider import Provider
from gateway.proof.capabilities import Capabilities, probe_capabilities
from gateway.proof.loss import IDENTITY, Loss, expressible_by, find_loss
from gateway.proof.probe import ProbeFailed, own_targets

UNKNOWN = "?"
LETTERS = dict(namespace="N", metric="M", attributes="A", value="V", stats="S", unit="U", time_ns="T")
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
    providers = load_or_fail(routes, strict_environment=False).providers
    if source is not None and target is not None:
        pairs = list(_pairs(*([named("provider", name, providers)] for name in (source, target))))
        if not pairs:
            fail(f"no report goes from {source} to {target}: one of them has no such role")
        _show_pair(pairs[0])
        return
    known = [provider for _, provider in sorted(providers.items()) if not provider.relay]
    for text in (*_held_table(known), "", *_lost_tables(list(_pairs(known, known))), "", *LEGEND.splitlines()):
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


def _show_pair(pair: Pair) -> None:
    heading(f"{pair.source} to {pair.target}")
    if pair.loss is None:
        line(f"{UNKNOWN}  {pair.target} cannot read what it sends: {pair.why}")
        return
    merges = dict.fromkeys(IDENTITY, "; series would merge")
    words = {each.field: each.what + merges.get(each.field, "") for each in pair.loss.lost}
    words |= {
        name: f"{pair.target} requires it, and no report has it: set it in the route" for name in pair.loss.missing
    }
    stated = {name for name, value in pair.stated.arrived.as_mapping().items() if value} - {"time_ns"}
    others = {"unit": pair.stated.units, "stats": pair.stated.stats, "time_ns": pair.stated.has_time}
    stated |= {name for name, value in others.items() if value}
    print_pairs({n: words.get(n, "arrives" if n in stated else "is not stated") for n in FIELD_READERS})


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
    sources, left = (list(dict.fromkeys(names)) for names in ([p.source for p in pairs], [p.target for p in pairs]))

    def table(targets: list[str]) -> list[str]:
        rows = [[source, *(cells.get((source, target), "") for target in targets)] for source in sources]
        return table_lines([["from ╲ to", *targets], *rows])

    lines: list[str] = []
    while left:
        sizes = (size for size in range(len(left), 1, -1) if len(table(left[:size])[0]) <= MAX_TABLE_CHARS)
        size = next(sizes, 1)
        lines += [*([""] if lines else []), *table(left[:size])]
        left = left[size:]
    return lines


def _cell(pair: Pair) -> str:
    if pair.loss is None:
        return UNKNOWN
    lost: dict[str, Any] = {each.field: each.whole for each in pair.loss.lost}
    letters = [letter if lost[field] else letter.lower() for field, letter in LETTERS.items() if field in lost]
    merging = sum(field in IDENTITY for field in lost)
    parts = ["".join(letters[:merging]), "".join(letters[merging:])]
    parts += [f"+{LETTERS[field].lower()}" for field in pair.loss.missing]
    return " ".join(part for part in parts if part) or "·"
