"""What providers hold and lose, for every pair of them, as words and as JSON."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.core.points.decode import FIELD_READERS
from gateway.core.points.point import STATISTICS
from gateway.core.vendor.provider import Provider
from gateway.proof.capabilities import Capabilities, probe_capabilities
from gateway.proof.loss import IDENTITY, Expressible, FieldLoss, Loss, expressible_by, find_loss
from gateway.proof.probe import ProbeFailed, own_targets

UNKNOWN = "?"
NAMED = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """A provider that reports are made for, one that they go to, and what is lost; `why` says why that is not known."""

    source: str
    target: str
    stated: Expressible
    loss: Loss | None
    why: str = ""


def pairs_of(sources: Sequence[Provider], targets: Sequence[Provider] | None = None) -> list[Pair]:
    """Return each pair of a provider that receives and one that sends."""
    return [
        _pair(source, target)
        for source in sources
        for target in (sources if targets is None else targets)
        if source.receive is not None and target.send is not None and not source.relay and not target.relay
    ]


def _pair(source: Provider, target: Provider) -> Pair:
    stated = expressible_by(source, names=target.attribute_names)
    try:
        return Pair(source.name, target.name, stated, find_loss(stated, own_targets(target)[0]))
    except ProbeFailed as error:
        return Pair(source.name, target.name, stated, None, str(error))


def held_by(provider: Provider) -> list[str]:
    """Return what the provider's first request holds, in words, field by field."""
    try:
        return list(holding_words(probe_capabilities(own_targets(provider)[0])).values())
    except ProbeFailed:
        return [UNKNOWN] * len(FIELD_READERS)


def holding_words(holding: Capabilities) -> dict[str, str]:
    return {
        "namespace": "yes" if holding.namespace else "no",
        "metric": "yes" if holding.metric else "no",
        "value": holding.value,
        "stats": "any" if holding.stats == set(STATISTICS) else _names(holding.stats),
        "unit": _names(holding.unit),
        "time": "no" if holding.time_ns == "none" else holding.time_ns,
        "attributes": _names(holding.attributes),
    }


def _names(names: Collection[str]) -> str:
    """Name them, or the first few and how many more: a table has no room for a whole schema."""
    if isinstance(names, str):
        return names
    known = sorted(names)
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED + 1 else ""
    return ", ".join(known[:NAMED] if more else known) + more or "no"


def holding_json(provider: Provider) -> dict[str, Any]:
    """Return what each of the provider's requests holds."""
    found: dict[str, Any] = {}
    for target in own_targets(provider):
        try:
            found[target.form.name] = {
                name: _plain(value) for name, value in asdict(probe_capabilities(target)).items()
            }
        except ProbeFailed as error:
            found[target.form.name] = {"unknown": str(error)}
    return found


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


def pair_json(pair: Pair) -> dict[str, Any]:
    names = {"from": pair.source, "to": pair.target}
    return names | ({"unknown": pair.why} if pair.loss is None else loss_json(pair.loss))


def loss_json(loss: Loss) -> dict[str, Any]:
    lost = [asdict(each) | {"merges": each.field in IDENTITY} for each in loss.lost]
    return {"lost": lost, "missing": list(loss.missing)}


def pair_words(pair: Pair) -> Iterator[tuple[str, str]]:
    """Yield each field of a data point, and what becomes of it."""
    if pair.loss is None:
        yield UNKNOWN, f"{pair.target} cannot read what it sends: {pair.why}"
        return
    lost = {each.field: each for each in pair.loss.lost}
    stated = _stated_fields(pair.stated)
    for name in FIELD_READERS:
        if name in pair.loss.missing:
            yield name, f"{pair.target} requires it, and no report has it: the route has to set it"
        elif name in lost:
            yield name, lost_words(lost[name])
        else:
            yield name, "arrives" if name in stated else "is not stated"


def lost_words(lost: FieldLoss) -> str:
    return lost.what + ("; series would merge" if lost.field in IDENTITY else "")


def _stated_fields(stated: Expressible) -> set[str]:
    fields = {name for name, value in stated.point.as_mapping().items() if value}
    others = {"unit": stated.units, "stats": stated.stats, "time_ns": stated.has_time}
    return (fields - {"time_ns"}) | {name for name, value in others.items() if value}
