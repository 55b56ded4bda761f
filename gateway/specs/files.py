"""Finds the files of specs, and the documents in them."""

from collections.abc import Iterator
from pathlib import Path

from gateway.core.text import did_you_mean
from gateway.specs.yaml.diagnostic import Diagnostics
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import MapNode, Scalar
from gateway.specs.yaml.reader import MAX_BYTES, parse

KINDS = ("recipe", "provider", "route")
SUFFIXES = (".yaml", ".yml")


def spec_files(folder: Path) -> list[Path]:
    """Return the files of specs below the folder, or the file itself. Raises OSError when it cannot be read.

    Hidden files are left out: drafts of editors, and the copies behind the symlinks of a Kubernetes ConfigMap.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    found = [path for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}")]
    hidden = {path for path in found if any(part.startswith(".") for part in path.relative_to(folder).parts)}
    return sorted(path for path in found if path not in hidden and path.is_file())


def read_file(
    path: Path, name: str, diagnostics: Diagnostics, *, shipped: bool = False, alone: bool = False
) -> Iterator[Document]:
    """Yield the documents of one file; `name` is its name in diagnostics."""
    with path.open("rb") as stream:
        text = stream.read(MAX_BYTES + 1)
    for node in parse(text, name, diagnostics):
        if not isinstance(node, MapNode) or not node.entries:
            diagnostics.error(node.mark, "", "expected a map that begins with recipe:, provider: or route:")
            continue
        kind, named = next(iter(node.entries.items()))
        if kind in KINDS:
            title = named.text if isinstance(named, Scalar) else ""
            yield Document(kind, title, node, diagnostics, shipped, alone=alone)
        else:
            what = f"a document cannot begin with {kind!r}"
            diagnostics.error(node.key_marks[kind], "", what, did_you_mean(kind, KINDS))
