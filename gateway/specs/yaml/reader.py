"""YAML text to nodes; findings go to `Diagnostics`. Scalars follow the YAML 1.2 core schema.

PyYAML's composer is not used: with events, nesting and aliases are bounded while reading, and a bad key does not hide
the next one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from gateway.core.text import did_you_mean
from gateway.specs.yaml.core_schema import KINDS, TAG, resolve, resolve_tagged
from gateway.specs.yaml.diagnostic import Diagnostics, Mark
from gateway.specs.yaml.errors import QUOTE, Stopped, explain, to_mark
from gateway.specs.yaml.nodes import ListNode, MapNode, Node, Scalar, Value, format_path

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000
MAX_NESTING = 64
_MAX_SHOWN = 200

Loader: TypeAlias = "type[yaml.SafeLoader | yaml.CSafeLoader]"
LOADER: Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

# U+0085, U+2028 and U+2029 are line breaks to YAML 1.1 and text to 1.2; a byte order mark is invisible.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_QUOTED = re.compile("'[^']*'")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(text: bytes | str, file: str, diagnostics: Diagnostics, *, loader: Loader = LOADER) -> list[Node]:
    """Return one node per document that could be read; a broken document ends the stream."""
    nodes: list[Node] = []
    try:
        source = _decoded(text, file)
        composer = _Composer(yaml.parse(source, Loader=loader), file, diagnostics)
        try:
            nodes.extend(composer.documents())
        except yaml.MarkedYAMLError as error:
            raise explain(error, source.splitlines(), file) from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # The pure loader lets chr() and int() fail on absurd escapes and versions.
            raise Stopped(composer.mark, f"not YAML: {error}") from error
    except Stopped as stopped:
        diagnostics.error(stopped.mark, "", stopped.what, stopped.hint)
    return nodes


def _decoded(text: bytes | str, file: str) -> str:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_BYTES:
        raise Stopped(Mark(file, 1, 1), f"{len(data):,} bytes, more than 1 MiB", "split it into several files")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        source = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise Stopped(_end_of(before, file), f"byte 0x{data[error.start]:02x} is not UTF-8") from error
    forbidden = _FORBIDDEN.search(source)
    if forbidden:
        code = ord(forbidden[0])
        hint = f"write it as \\u{code:04x} in double quotes" if code else ""
        raise Stopped(_end_of(source[: forbidden.start()], file), f"character U+{code:04X} is not allowed", hint)
    return source


def _end_of(before: str, file: str) -> Mark:
    lines = f"{before}|".splitlines()
    return Mark(file, len(lines), len(lines[-1]))


@dataclass(frozen=True, slots=True)
class _Anchored:
    mark: Mark
    node: Node | None = None  # None while the anchored value is still being read
    nodes: int = 0
    nesting: int = 0


class _Composer:
    """Builds nodes from events. An alias is a second reference to one node; only its size is added up."""

    def __init__(self, events: Iterator[yaml.Event], file: str, diagnostics: Diagnostics) -> None:
        self.mark = Mark(file, 1, 1)
        self._events = events
        self._diagnostics = diagnostics
        self._path: list[str | int] = []
        self._anchors: dict[str, _Anchored] = {}
        self._nodes = 0
        self._deepest = 0

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                root = self._node(next(self._events), 0)
                if not (isinstance(root, Scalar) and root.plain and root.text == ""):
                    yield root

    def _node(self, event: yaml.Event, nesting: int) -> Node:
        mark = self.mark = to_mark(event.start_mark, self.mark.file)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), nesting)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        name = event.anchor
        if name in self._anchors:
            hint = f"the first is on line {self._anchors[name].mark.line}"
            self._error(mark, f"duplicate anchor '&{name}'", hint)
        if name is not None:
            self._anchors[name] = _Anchored(mark)
        nodes, deepest, self._deepest = self._nodes, self._deepest, nesting
        self._count(1, nesting)
        node = self._scalar(event, mark) if isinstance(event, yaml.ScalarEvent) else self._built(event, mark, nesting)
        if name is not None:
            self._anchors[name] = _Anchored(mark, node, self._nodes - nodes, self._deepest - nesting)
        self._deepest = max(self._deepest, deepest)
        return node

    def _built(self, event: yaml.CollectionStartEvent, mark: Mark, nesting: int) -> ListNode | MapNode:
        self._count(0, nesting + 1)
        kind = "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"
        if event.tag not in (None, "!", TAG + kind):
            self._unknown_tag(mark, event.tag)
        return self._list(mark, nesting + 1) if kind == "seq" else self._map(mark, nesting + 1)

    def _count(self, nodes: int, nesting: int) -> None:
        self._nodes += nodes
        self._deepest = max(self._deepest, nesting)
        if self._nodes > MAX_NODES:
            raise Stopped(self.mark, f"more than {MAX_NODES:,} values, aliases followed")
        if nesting > MAX_NESTING:
            raise Stopped(self.mark, f"nested deeper than {MAX_NESTING} levels")

    def _alias(self, name: str, nesting: int) -> Node:
        anchored = self._anchors.get(name)
        if anchored is not None and anchored.node is not None:
            self._count(anchored.nodes, nesting + anchored.nesting)
            return anchored.node
        if anchored is not None:
            self._error(self.mark, f"alias '*{name}' is inside its own anchor '&{name}'")
        else:
            close = did_you_mean(name, self._anchors)
            hint = close if close.startswith("did") else QUOTE
            self._error(self.mark, f"no anchor '&{name}' above the alias '*{name}'", hint)
        self._count(1, nesting)
        return Scalar(self.mark, f"*{name}", f"*{name}", True)

    def _list(self, mark: Mark, nesting: int) -> ListNode:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(items))
            items.append(self._node(event, nesting))
            self._path.pop()
        return ListNode(mark, tuple(items))

    def _map(self, mark: Mark, nesting: int) -> MapNode:
        entries: dict[str, Node] = {}
        key_marks: dict[str, Mark] = {}
        merged_at: Mark | None = None
        origins: list[MapNode] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            merges = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not (event.style or event.tag)
            node = self._node(event, nesting)
            key, at = self._key(node), node.mark
            self._path.append(key)
            value = self._node(next(self._events), nesting)
            self._path.pop()
            first = merged_at if merges else key_marks.get(key)
            if first:
                self._error(at, f"duplicate key '{key}'", f"the first is on line {first.line}")
            elif merges:
                merged_at = at
                values = value.items if isinstance(value, ListNode) else (value,)
                origins = [each for each in values if isinstance(each, MapNode)]
                if len(origins) < len(values):
                    self._error(at, "'<<' can only merge maps", "give it a map or a list of maps, such as *name")
            else:
                entries[key], key_marks[key] = value, at
        # The origins' entries come first. Own entries take precedence, then those of earlier origins.
        merged: dict[str, Node] = {}
        merged_marks: dict[str, Mark] = {}
        for origin in origins:
            merged = {**merged, **origin.entries, **merged}
            merged_marks = {**merged_marks, **origin.key_marks, **merged_marks}
        return MapNode(mark, merged | entries, merged_marks | key_marks)

    def _key(self, node: Node) -> str:
        if not isinstance(node, Scalar):
            kind = "map" if isinstance(node, MapNode) else "list"
            self._error(node.mark, f"a {kind} cannot be a key: keys are text", QUOTE)
            return "?"
        if not isinstance(node.value, str):
            self._error(node.mark, f"key {node.text or '(empty)'} is not text", f'quote it: "{node.text}"')
        return node.text

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> Scalar:
        text, tag, plain = str(event.value), event.tag, not event.style
        if tag is not None and tag != "!" and tag not in KINDS:
            return self._unknown_tag(mark, tag, text)
        value: Value = text
        try:
            if _SURROGATE.search(text):
                raise ValueError("an escape for half of a character")
            if tag in KINDS:
                value = resolve_tagged(text, tag)
            elif plain and tag is None:
                value = resolve(text)
        except ValueError as error:
            self._error(mark, str(error))
            text = value = _SURROGATE.sub("\ufffd", text)
        return Scalar(mark, value, text, plain)

    def _unknown_tag(self, mark: Mark, tag: str, text: str = "") -> Scalar:
        seen = tag.replace(TAG, "!!")
        self._error(mark, f"unknown tag '{seen}'", "" if seen.startswith("!!") else QUOTE)
        # Such as `!(body.x) && y`: what was meant is this text, so the checks that follow see it.
        raw = f"{seen} {text}".strip()
        return Scalar(mark, raw, raw, True)

    def _error(self, mark: Mark, what: str, hint: str = "") -> None:
        if "secret" in self._path:
            what = _QUOTED.sub("'***'", what)  # a secret without quotes may look like an alias or a tag
        shown = what if len(what) <= _MAX_SHOWN else f"{what[:_MAX_SHOWN]}…"
        self._diagnostics.error(mark, format_path(self._path), shown, hint)
