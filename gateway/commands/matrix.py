"""gateway matrix: what each provider can hold of a data point, and what is lost from one to another."""

from typing import Annotated, Any

import typer

from gateway.commands.arguments.loading import load_or_fail, provider_named
from gateway.commands.arguments.options import Json, SpecFolder, fail, misuse
from gateway.commands.output.losses import UNKNOWN, Pair, held_by, holding_json, pair_json, pair_words, pairs_of
from gateway.commands.output.printing import heading, line, print_json
from gateway.commands.output.tables import WIDTH, markdown
from gateway.core.vendor.provider import Provider
from gateway.proof.loss import IDENTITY
from gateway.specs.load import Specs

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
N namespace, M metric, A attributes: two series would become one; refused until `points.allow_loss` names it.
V value, U unit, T time: a warning, until it is named there. S stats: each becomes a data point of its own.
A small letter: lost in part. +n: required and never stated: the route has to set it. ·: nothing is lost. ?: not known.\
"""


def matrix(
    source: Annotated[str | None, typer.Argument(metavar="FROM", help="Whose reports; default: all.")] = None,
    target: Annotated[str | None, typer.Argument(metavar="TO", help="To whom; default: all.")] = None,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Show what each provider can hold, and what is lost between two.

    Probes are encoded by a provider and read back by it.

    \b
    Example:
      gateway matrix acme zeta
    """
    if (source is None) != (target is None):
        misuse("name both providers, FROM and TO, or none")
    specs = load_or_fail(routes, strict_environment=False)
    if source is not None and target is not None:
        _show_pair(_pair(specs, source, target), json)
        return
    known = sorted(specs.providers.values(), key=lambda each: each.name)
    providers = [each for each in known if not each.relay]
    pairs = pairs_of(providers)
    if json:
        holds = {each.name: holding_json(each) for each in providers}
        print_json({"holds": holds, "pairs": [pair_json(pair) for pair in pairs]})
        return
    for text in (*_held_table(providers), "", *_lost_tables(pairs), "", *LEGEND.splitlines()):
        line(text)


def _pair(specs: Specs, source: str, target: str) -> Pair:
    found = pairs_of([provider_named(specs, source)], [provider_named(specs, target)])
    if not found:
        fail(f"no report goes from {source} to {target}: one of them has no such role")
    return found[0]


def _show_pair(pair: Pair, json: bool) -> None:
    if json:
        print_json(pair_json(pair))
        return
    heading(f"{pair.source} to {pair.target}")
    for name, words in pair_words(pair):
        line(f"{name:10}  {words}")


def _held_table(providers: list[Provider]) -> list[str]:
    rows = [["provider", "namespace", "metric", "value", "stats", "unit", "time", "attributes"]]
    rows += [[each.name, *held_by(each)] for each in providers if each.send is not None]
    return markdown(rows)


def _lost_tables(pairs: list[Pair]) -> list[str]:
    """Return one table or, where it would be too wide, several with some of the targets each."""
    cells = {(pair.source, pair.target): _cell(pair) for pair in pairs}
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    lines: list[str] = []
    todo = list(dict.fromkeys(pair.target for pair in pairs))
    while todo:
        size = len(todo)
        while size > 1 and len(_lost_table(cells, sources, todo[:size])[0]) > WIDTH:
            size -= 1
        lines += [*([""] if lines else []), *_lost_table(cells, sources, todo[:size])]
        todo = todo[size:]
    return lines


def _lost_table(cells: dict[tuple[str, str], str], sources: list[str], targets: list[str]) -> list[str]:
    rows: list[list[str]] = [["from ╲ to", *targets]]
    rows += [[source, *(cells.get((source, target), "") for target in targets)] for source in sources]
    return markdown(rows)


def _cell(pair: Pair) -> str:
    if pair.loss is None:
        return UNKNOWN
    lost: dict[str, Any] = {each.field: each.whole for each in pair.loss.lost}
    letters = [letter if lost[field] else letter.lower() for field, letter in LETTERS.items() if field in lost]
    merging = sum(field in IDENTITY for field in lost)
    parts = ["".join(letters[:merging]), "".join(letters[merging:])]
    parts += [f"+{LETTERS[field].lower()}" for field in pair.loss.missing]
    return " ".join(part for part in parts if part) or "·"
