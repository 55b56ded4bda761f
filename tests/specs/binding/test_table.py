"""A table of keys reads a map: every key once, every error at its place, defaults for the rest."""

from dataclasses import dataclass
from typing import Any

import pytest

from gateway.specs.binding import types as t
from gateway.specs.binding.place import Invalid, Place, Scope
from gateway.specs.binding.table import Key, Table, optional
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import MapNode
from gateway.specs.yaml.reader import parse


@dataclass
class Job:
    name: str
    count: int = 3
    else_: str | None = None
    limit: float | None = None


INNER = Table("inner", dict, Key("word", t.TEXT, "a word"), stated_only=True)
JOB = Table(
    "job",
    Job,
    Key("name", t.TEXT, "a name"),
    Key("count", t.COUNT, "a default of the parameter"),
    optional("else", t.word(("drop", "keep")), "a Python keyword", "keep"),
    optional("most", t.POSITIVE, "another name of the parameter", to="limit"),
)
LOGIN = Table("login", dict, Key("word", t.SECRET, "a password", secret=True), stated_only=True)


def place_of(text: str) -> Place:
    (node,) = parse(text, "f.yaml", diagnostics := Diagnostics())
    assert isinstance(node, MapNode)
    return Place(Scope(Document("job", "a", node, diagnostics)), node)


def errors_of(table: Table, text: str) -> list[str]:
    place = place_of(text)
    with pytest.raises(Invalid):
        table.read(place)
    return [str(found) for found in place.scope.document.diagnostics]


@pytest.mark.parametrize(
    ("text", "job"),
    [
        pytest.param("name: a", Job("a", 3, "keep"), id="defaults"),
        pytest.param("{name: a, count: 5, else: drop, most: 2}", Job("a", 5, "drop", 2.0), id="stated"),
        pytest.param("{name: a, most: null}", Job("a", 3, "keep"), id="null where there is no default"),
        pytest.param("{name: a, count: '5'}", Job("a", 5, "keep"), id="number in quotes"),
    ],
)
def test_map_becomes_an_object(text: str, job: Job) -> None:
    assert JOB.read(place_of(text)) == job


def test_all_errors_are_reported_at_once() -> None:
    assert errors_of(JOB, "{nmae: a, count: 0, else: dorp}") == [
        "f.yaml:1:1: 'name' is missing",
        "f.yaml:1:2: unknown key 'nmae'; did you mean 'name'?",
        "f.yaml:1:18: count: expected more than 0, not '0'",
        "f.yaml:1:27: else: unknown value 'dorp'; did you mean 'drop'?",
    ]


def test_table_of_stated_keys_gives_no_defaults() -> None:
    assert INNER.read(place_of("{}")) == {}


def test_check_is_not_run_on_an_object_with_errors() -> None:
    seen: list[Any] = []
    table = Table("job", Job, Key("name", t.TEXT, "a name"), check=lambda at, job: seen.append(job))

    errors_of(table, "name: 5")
    table.read(place_of("name: a"))

    assert seen == [Job("a")]


def test_secret_is_not_shown() -> None:
    assert errors_of(LOGIN, "word: [hush]") == ["f.yaml:1:7: word: expected text, not a list"]
    assert errors_of(LOGIN, "word: 12345") == ["f.yaml:1:7: word: expected text, not ***; put it in quotes"]


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        pytest.param(t.one_or_more(t.TEXT), "a: x", ("x",), id="one"),
        pytest.param(t.one_or_more(t.TEXT), "a: [x, y]", ("x", "y"), id="more"),
        pytest.param(t.map_of(t.BOOLEAN), "a: {x: true, y: 'false'}", {"x": True, "y": False}, id="map"),
        pytest.param(t.number(exact=True), "a: 9007199254740993", 9007199254740993, id="integer above 2^53"),
        pytest.param(t.integer(), "a: 5.0", 5, id="integer with a point"),
    ],
)
def test_type_reads_a_value(read: t.Type, text: str, value: object) -> None:
    assert read.read(place_of(text).at("a")) == value
