"""Finds what no case covers: members that never have a value, and conditions that never hold."""

from collections.abc import Callable

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import KeyPath
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import mark_of


class Watch:
    """Records which members had a value, and which conditions held, while the cases ran."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, KeyPath]] = set()
        self._watched: list[tuple[Document, Compiler]] = []

    def for_document(self, document: Document) -> Callable[[KeyPath], None]:
        identity = id(document.node)
        return lambda path: self._seen.add((identity, path))

    def add(self, document: Document, compiler: Compiler) -> None:
        self._watched.append((document, compiler))

    def forget(self) -> None:
        """Forget what loading made non-null: the probes for losses are not cases."""
        self._seen.clear()

    def report(self) -> None:
        """Warn of each member without a value and each condition that never held, in documents that have cases."""
        for document, compiler in self._watched:
            if "cases" not in document.node.entries:
                document.note((), f"the {document.kind} {document.name!r} has no cases")
                continue
            # An alias repeats one place: one of its paths is enough.
            seen = {mark_of(document.node, path) for node, path in self._seen if node == id(document.node)}
            for path in sorted(compiler.watched | compiler.conditions, key=str):
                if mark_of(document.node, path) not in seen:
                    is_condition = path in compiler.conditions
                    document.warning(path, "no case makes this true" if is_condition else "no case gives this a value")
