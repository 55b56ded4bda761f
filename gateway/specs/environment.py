"""Replaces ${NAME} in the scalars of a route, after parsing: a value can never change the structure of a document."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.files import MAX_SECRET_BYTES, fingerprint, read_regular_file
from gateway.specs.yaml.diagnostic import Mark
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode, MapNode, Node

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)

UNSET = "unset"  # takes the place of a variable without a value


def substitute(document: Document, environ: Mapping[str, str]) -> Node:
    """Return the document's node with every variable replaced. The text of a scalar stays as written.

    A variable without a value is an error if the document is strict, else a note.
    """

    def apply(node: Node) -> Node:
        if isinstance(node, MapNode):
            return MapNode(node.mark, {key: apply(value) for key, value in node.entries.items()}, node.key_marks)
        if isinstance(node, ListNode):
            return ListNode(node.mark, tuple(map(apply, node.items)))
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        value = _VARIABLE.sub(lambda match: _value(match, node.mark, document, environ), node.value)
        document.replaced[node.mark] = node.value, value
        return replace(node, value=value)

    document.with_values = apply(document.node)
    return document.with_values


def _value(match: re.Match[str], mark: Mark, document: Document, environ: Mapping[str, str]) -> str:
    if match[1]:
        return "${"
    text, name, hint = match[2], _NAME.fullmatch(match[2]), ""
    if text.startswith("file:"):
        value, what = _read_secret(Path(text[5:]), document), f"cannot read the file {text[5:]}"
    elif name is not None:
        value, what = environ.get(name[1], name[2]), f"the environment variable {name[1]} is not set"
        text, hint = name[1], "set it, or give a default: ${NAME:-default}"
    else:
        document.errors += 1
        # The text is not shown: it may be part of a secret.
        hint = "write ${NAME}, ${NAME:-default} or ${file:/path}"
        document.diagnostics.error(mark, "", "'${…}' is not a variable", hint)
        return text
    if value is not None:
        return value
    document.unset[mark] = text
    if document.strict:
        document.errors += 1
        document.diagnostics.error(mark, "", what, hint)
    else:
        document.diagnostics.note(mark, "", what)
    return UNSET


def _read_secret(file: Path, document: Document) -> str | None:
    document.files[file] = fingerprint(file)
    try:
        text = read_regular_file(file, MAX_SECRET_BYTES).decode("utf-8")
    except (OSError, ValueError):
        return None
    return text.removesuffix("\n").removesuffix("\r")
