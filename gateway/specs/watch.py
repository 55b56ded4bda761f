"""Finds the members of documents that no case ever gives a value: either the case is missing, or the member is idle."""

from collections.abc import Callable

from gateway.core.expression import Compiler
from gateway.core.expression.compiler import KeyPath
from gateway.specs.document import Document


class Watch:
    """Remembers which members of which documents ever came out non-null, while the cases ran."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, KeyPath]] = set()
        self._watched: list[tuple[Document, Compiler]] = []

    def for_document(self, document: Document) -> Callable[[KeyPath], None]:
        identity = id(document.node)
        return lambda path: self._seen.add((identity, path))

    def add(self, document: Document, compiler: Compiler) -> None:
        self._watched.append((document, compiler))

    def forget(self) -> None:
        """Forget what loading itself made non-null: the probes that find out what is lost are no cases."""
        self._seen.clear()

    def report(self) -> None:
        """Warn of each member that no case made non-null, in the documents that have cases."""
        for document, compiler in self._watched:
            if "cases" not in document.node.entries:
                document.note((), f"the {document.kind} {document.name!r} has no cases")
                continue
            for path in sorted(compiler.watched, key=str):
                if (id(document.node), path) not in self._seen:
                    document.warning(path, "no case ever gives this a value")
